"""What an Earthformer costs in inference and training, at any size, without having the memory for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.models.costs import earthformer
from geoscope.models.costs.ghosts import Ghosts
from geoscope.models.costs.meter import Meter, PartCost
from geoscope.models.costs.steps import MOMENTS, forecast, training_loss
from geoscope.models.earthformer.config import EarthformerConfig

Mode = Literal["inference", "training"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one forward pass, or one step of training, costs; all memory in bytes.

    flop, moved: see `meter`. weights, inputs: there before. moments: of AdamW. gradients, activations: at the moment at
    which the most is held, which is in ``peak_part``. kept: held between forward and backward pass. parts: of the
    forward pass.
    """

    mode: Mode
    parameters: int
    flop: int
    moved: int
    weights: int
    inputs: int
    gradients: int
    moments: int
    activations: int
    kept: int
    peak_part: str
    parts: dict[str, PartCost]

    @property
    def peak(self) -> int:
        """All memory at the fullest moment, beside the program itself."""
        return self.weights + self.inputs + self.gradients + self.moments + self.activations


def dtype_of(name: str) -> torch.dtype:
    """The dtype called ``name``.

    Raises:
        ConfigError: not one of `DTYPES`.
    """
    if name not in DTYPES:
        raise ConfigError(f"dtype {name!r} is not known: choose one of {', '.join(DTYPES)}")
    return DTYPES[name]


def cost(
    config: EarthformerConfig,
    mode: Mode = "inference",
    *,
    batch: int = 1,
    dtype: torch.dtype = torch.float32,
    prepare: Callable[[nn.Module], None] | None = None,
    as_published: bool = False,
) -> Cost:
    """Count one forward pass or one step of training (forward, backward, AdamW's moments) of an Earthformer.

    Args:
        config: of the network, see `earthformer.resized`.
        mode: "training" runs in mixed precision where ``dtype`` is not float32.
        batch: samples at a time.
        dtype: in inference of everything.
        prepare: is called with the model, for instance to let it recompute its activations.
        as_published: with the published order of upsampling and convolution.

    Raises:
        ConfigError: a batch below 1.
    """
    if batch < 1:
        raise ConfigError(f"batch={batch}: give at least 1")
    ghosts, is_training = Ghosts(), mode == "training"
    stored = torch.float32 if is_training else dtype
    model = ghosts.model(lambda: earthformer.build(config, as_published=as_published), stored)
    model.train(is_training)
    if prepare is not None:
        prepare(model)
    x = ghosts.field((batch, *config.input_shape), stored)
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    inputs, kept, gradients = x.nbytes, 0, 0
    meter = Meter()
    if not is_training:
        with _counting(meter, model):
            forecast(model, x)
    else:
        target = ghosts.field((batch, *config.target_shape))
        inputs += target.nbytes
        kept, gradients = _train(meter, model, x, target, dtype)
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    return Cost(
        mode=mode,
        parameters=sum(p.numel() for p in model.parameters()),
        flop=meter.reading.flop,
        moved=meter.reading.moved,
        weights=weights,
        inputs=inputs,
        gradients=gradients,
        moments=MOMENTS * trained * is_training,
        activations=meter.reading.peak - gradients,
        kept=kept,
        peak_part=meter.reading.peak_part,
        parts=meter.reading.parts,
    )


def _train(meter: Meter, model: nn.Module, x: Tensor, target: Tensor, dtype: torch.dtype) -> tuple[int, int]:
    """Count one step: bytes kept for the gradient, and of gradients when the most was held. Parts: the forward pass."""
    with _counting(meter, model):
        loss = training_loss(model, x, target, dtype)
    kept = meter.end_forward()
    parts = {name: replace(part) for name, part in meter.reading.parts.items()}
    with meter:
        loss.backward()
    meter.reading.parts = parts
    return kept, meter.held_at_peak([p.grad for p in model.parameters() if p.grad is not None])


@contextmanager
def _counting(meter: Meter, model: nn.Module) -> Iterator[None]:
    with meter.watching(model, earthformer.part_of), meter:
        yield
