"""Two splits of a dataset of frames, with what a network and its model card must know of their numbers."""

from dataclasses import dataclass

import numpy as np

from geoscope.data.frame_samples import Samples
from geoscope.errors import ConfigError
from geoscope.models.networks.weights import Encoding

ENDLESS = 2**62  # samples: more than any run draws


@dataclass(frozen=True)
class FrameData:
    """Two splits, and what their numbers are.

    encoding: "unit" for pictures in [0, 1]; "vil" for SEVIR's codes over 255; "log rain" as `data.rain_scale` has it.
    kilometres and minutes: of a pixel and a frame, where the data have such, all the same. description and split: for
    the model card. is_endless: the samples to train on are drawn one by one and never come again.
    """

    train: Samples
    validation: Samples
    encoding: Encoding
    description: str
    split: str
    kilometres: float | None = None
    minutes: float | None = None
    is_endless: bool = False


class First:
    """The first ``count`` samples, evenly spread over the split; 0 for all of them."""

    def __init__(self, samples: Samples, count: int) -> None:
        if count < 0:
            raise ConfigError(f"validation_count={count} must not be below zero")
        whole = len(samples)
        self.samples = samples
        kept = min(count, whole) if count else whole
        self.indices = [i * whole // kept for i in range(kept)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.samples[self.indices[index]]
