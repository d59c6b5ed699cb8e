"""Windows of SEVIR VIL sequences kept in `.npz` files: an array `vil` uint8 (T, H, W) of codes, frames evenly spaced.

For the pieces of SEVIR that people publish beside their code, where the HDF5 files of the whole data set are not at
hand. Codes are scaled as for `SevirWindows`; rows stay in the order of the file.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geoscope.data.formats.faults import fault, reading
from geoscope.data.frame_samples import check_counts, frame_sample
from geoscope.data.sevir_windows import Rescale, rescale_codes
from geoscope.errors import DataError


class VilSequences:
    """Windows of some files in a fixed order, as a map-style dataset of ``input`` and ``target`` (T, H, W, 1) float32.

    Files too short for one window are passed over. Splits are the caller's business, by whole files
    (`geoscope.training.splits`).
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        in_frames: int = 7,
        out_frames: int = 6,
        stride: int = 6,
        interval_minutes: float | None = None,
        rescale: Rescale = "01",
        split: str = "train",
    ) -> None:
        """Read the files; ``interval_minutes`` None takes the frames as they are, ``split`` is the name in messages.

        Raises:
            ConfigError: a number of frames that cannot be, or an unknown ``rescale``.
            DataError: a file without such an array, with another interval or size, or no window in any.
        """
        check_counts(in_frames=in_frames, out_frames=out_frames, stride=stride)
        self.in_frames, self.length = in_frames, in_frames + out_frames
        self.rescale: Rescale = rescale
        self.sequences = [_read(Path(path), interval_minutes) for path in paths]
        sizes = sorted({codes.shape[1:] for codes in self.sequences})
        if len(sizes) > 1:
            raise DataError(
                f"{Path(paths[0]).name} and others: expected sequences of one size, found {sizes[0]} and {sizes[-1]}; "
                "keep those of one size"
            )
        self.places = [
            (number, start)
            for number, codes in enumerate(self.sequences)
            for start in range(0, len(codes) - self.length + 1, stride)
        ]
        if not self.places:
            longest = max((len(codes) for codes in self.sequences), default=0)
            raise DataError(
                f"the split {split!r} is empty: expected sequences of {self.length} frames, found at most {longest} in "
                f"{len(self.sequences)} files; take fewer frames or more files"
            )
        rescale_codes(self.sequences[0][:1], rescale)
        self.source = f"SEVIR VIL, {len(self.sequences)} sequences"

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        number, start = self.places[index]
        codes = self.sequences[number][start : start + self.length]
        return frame_sample(rescale_codes(codes, self.rescale), self.in_frames)


def _read(path: Path, interval_minutes: float | None) -> np.ndarray:
    """The codes (T, H, W) uint8 of one file, every n-th frame so that they are ``interval_minutes`` apart."""
    with (
        reading(path, "a sequence of VIL codes"),
        path.open("rb") as file,  # numpy leaves a damaged file open
        np.load(file, allow_pickle=False) as archive,
    ):
        if "vil" not in archive.files:
            raise fault(path, "an array vil", ", ".join(archive.files) or "nothing", "leave the file out")
        codes = archive["vil"]
        if codes.dtype != np.uint8 or codes.ndim != 3:
            raise fault(
                path, "vil as uint8 (time, row, column)", f"{codes.dtype} {codes.shape}", "leave the file out"
            )
        if interval_minutes is None:
            return codes
        held = float(json.loads(str(archive["meta"]))["dt_minutes"])
    step = interval_minutes / held
    if step < 1 or step != round(step):
        cure = "choose another interval"
        raise fault(
            path, f"frames every {interval_minutes:g} minutes or a part of it", f"every {held:g}", cure
        )
    return codes[:: round(step)]
