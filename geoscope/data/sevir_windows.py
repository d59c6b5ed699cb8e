"""Windows of SEVIR events for training and for the published tables, read when they are asked for.

The protocol of Earthformer (Gao et al. 2022): of the 49 frames of an event, windows of 13 + 12 start every 12 frames,
so each event gives three. SEVIR-LR (Gao et al. 2023, PreDiff) has 25 frames an event and windows of 7 + 6 every 6.
Rows stay in the files' order, south to north, because the published weights were trained on them so.
"""

import os
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from geoscope.data import hdf5
from geoscope.data.formats.faults import fault
from geoscope.data.frame_samples import Split, check_counts, frame_sample
from geoscope.data.sevir_catalogue import SevirEvent, read_catalogue
from geoscope.errors import ConfigError, DataError

Rescale = Literal["01", "sevir", "none"]
# Published as factor * (code + offset), in float32. 1/255 is a factor: to divide by 255 would bring the code 219 back
# as 218.99998, below the threshold of 219.
_FACTORS: dict[Rescale, tuple[float, float]] = {
    "01": (1 / 255, 0.0),
    "sevir": (1 / 47.54, -33.44),
    "none": (1.0, 0.0),
}
_SNAP = 2e-5  # codes: what one rounding of float32 near 255 can do
_LARGEST_EVENT = 1 << 30
_CURE = "fetch the file and CATALOG.csv again"


def rescale_codes(codes: np.ndarray, mode: Rescale = "01") -> np.ndarray:
    """SEVIR's VIL codes (0 to 255) as float32: "01" to [0, 1], "sevir" to (code - 33.44) / 47.54, "none" as they are.

    Raises:
        ConfigError: no such mode.
    """
    factor, offset = _factor(mode)
    return (codes.astype(np.float32) + np.float32(offset)) * np.float32(factor)


def restore_codes(values: np.ndarray, mode: Rescale = "01") -> np.ndarray:
    """Back to codes on 0-255, float32; every whole code comes back exactly, so no threshold is missed by rounding.

    Raises:
        ConfigError: no such mode.
    """
    factor, offset = _factor(mode)
    codes = values.astype(np.float32) / np.float32(factor) - np.float32(offset)
    whole = np.rint(codes)
    return np.where(np.abs(codes - whole) <= _SNAP, whole, codes)


def _factor(mode: Rescale) -> tuple[float, float]:
    if mode not in _FACTORS:
        raise ConfigError(f"rescale={mode!r}: expected one of {', '.join(get_args(Rescale))}")
    return _FACTORS[mode]


class SevirWindows:
    """Windows of one split as a map-style dataset: ``input`` (T, H, W, 1) and ``target`` (T', H, W, 1), float32.

    Index i is window i % n of event i // n, n windows an event. Files are opened when a window is read, in the
    process that reads it, so any number of workers, forked or spawned, gives the same samples. `DataLoader` with
    ``drop_last=True`` leaves out the last incomplete batch as the published loader does.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        in_frames: int = 13,
        out_frames: int = 12,
        stride: int = 12,
        rescale: Rescale = "01",
        is_shuffled: bool | None = None,
        absent: Literal["refuse", "leave out"] = "refuse",
        validation_share: float = 0.0,
    ) -> None:
        """Read the catalogue and look at the first event's file.

        ``is_shuffled``: the order of the published loader for train (default), by id for the others. ``absent``: what
        to do with events whose file is not there. ``validation_share``: see `SevirCatalogue.split`.

        Raises:
            ConfigError: an option that cannot be.
            DataError: the catalogue or a file is missing or damaged, or the split is empty.
        """
        check_counts(in_frames=in_frames, out_frames=out_frames, stride=stride)
        if absent not in ("refuse", "leave out"):
            raise ConfigError(f"absent={absent!r}: expected 'refuse' or 'leave out'")
        _factor(rescale)
        self.root, self.split = Path(root), split
        self.in_frames, self.out_frames, self.stride = in_frames, out_frames, stride
        self.rescale: Rescale = rescale
        self.source = f"SEVIR VIL, {split}"
        events = read_catalogue(root).split(split, is_shuffled=is_shuffled, validation_share=validation_share)
        self.events = _present(events, self.root, split, absent)
        self.event_shape = self._block(self.events[0]).shape  # (H, W, frames)
        spare = self.event_shape[2] - in_frames - out_frames
        if spare < 0:
            raise ConfigError(
                f"in_frames={in_frames} and out_frames={out_frames}: expected at most {self.event_shape[2]} together, "
                f"the frames of an event in {self.root}; SEVIR-LR has 25 and takes 7 and 6"
            )
        self.windows_per_event = 1 + spare // stride

    @classmethod
    def low_resolution(
        cls, root: str | Path, split: Split = "train", *, rescale: Rescale = "01"
    ) -> "SevirWindows":
        """Windows of SEVIR-LR, 7 + 6 frames of 10 minutes every 6, from a folder of `geoscope prepare sevir-lr`."""
        return cls(root, split, in_frames=7, out_frames=6, stride=6, rescale=rescale)

    def __len__(self) -> int:
        return len(self.events) * self.windows_per_event

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        place, window = divmod(index, self.windows_per_event)
        event = self.events[place]
        block = self._cached(event)
        if block.shape != self.event_shape:
            raise fault(
                event.path, f"events of shape {self.event_shape}", f"{block.shape} for {event.id}", _CURE
            )
        start = window * self.stride
        codes = np.moveaxis(block[:, :, start : start + self.in_frames + self.out_frames], 2, 0)
        return frame_sample(np.ascontiguousarray(rescale_codes(codes, self.rescale)), self.in_frames)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_held"}

    def _cached(self, event: SevirEvent) -> np.ndarray:
        """The event's codes; the last one is kept, since its windows follow each other. Never across processes."""
        held = self.__dict__.get("_held")
        if held is None or held[:2] != (os.getpid(), event):
            held = (os.getpid(), event, self._block(event))
            self._held = held
        return held[2]

    def _block(self, event: SevirEvent) -> np.ndarray:
        """All frames (H, W, T) uint8 of one event."""
        return read_event_codes(event.path, event.index, event.id)


def _present(
    events: tuple[SevirEvent, ...], root: Path, split: str, absent: Literal["refuse", "leave out"]
) -> tuple[SevirEvent, ...]:
    """The events whose file is there."""
    lacking = sorted({event.path for event in events if not event.path.is_file()})
    if lacking and absent == "refuse":
        raise DataError(
            f"{lacking[0]}: expected a file that CATALOG.csv names, found nothing, nor {len(lacking) - 1} "
            "others; fetch them, or leave their events out with absent='leave out'"
        )
    kept = tuple(event for event in events if event.path not in set(lacking))
    if not kept:
        raise DataError(
            f"{root}: the split {split!r} is empty: none of its {len(lacking)} files is there; fetch one"
        )
    return kept


def read_event_codes(path: Path, index: int, identity: str | None = None) -> np.ndarray:
    """The VIL codes (H, W, T) uint8 of event number ``index`` of a file in SEVIR's layout.

    Raises:
        DataError: the file is missing, damaged or not SEVIR's, or the event there is not the one of the catalogue.
    """
    with hdf5.opened(path, "a SEVIR HDF5 file") as file:
        data = hdf5.dataset(file, "vil", path)
        if data.ndim != 4 or data.dtype != np.uint8:
            raise fault(path, "vil as uint8 (event, row, column, time)", f"{data.dtype} {data.shape}", _CURE)
        if index >= len(data):
            raise fault(path, f"event number {index}", f"{len(data)} events", _CURE)
        hdf5.check_size(data, path, _LARGEST_EVENT, data.shape[1:], first=index)
        ids = file.get("id")
        if identity is not None and ids is not None and ids.shape == data.shape[:1]:
            found = hdf5.plain(ids[index])
            if found != identity:
                raise fault(path, f"event {identity} at number {index}", str(found), _CURE)
        return data[index]
