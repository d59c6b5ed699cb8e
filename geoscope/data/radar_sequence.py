"""From the frames of many files to one field: sorted, checked for gaps and mixtures, read within the cap."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from geoscope import __version__
from geoscope.data.formats.faults import fault, human_bytes, reading
from geoscope.data.formats.pieces import Piece
from geoscope.errors import ConfigError, DataError, MissingExtraError

FILL_GAPS = (None, "nan", "linear", "previous")
Chunks = int | Mapping[str, int] | str | None


def check_options(fill_gaps: str | None, chunks: Chunks) -> None:
    """Refuse options that cannot work before any file is touched.

    Raises:
        ConfigError: an unknown value. MissingExtraError: `chunks` without dask.
    """
    if fill_gaps not in FILL_GAPS:
        raise ConfigError(f"fill_gaps={fill_gaps!r}: expected one of {', '.join(map(repr, FILL_GAPS))}")
    if chunks is None:
        return
    _frames_in_chunk(chunks)
    try:
        import dask.array  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "chunks= reads lazily with dask, which is not installed: pip install geoscope[scale], or drop it"
        ) from error


def _frames_in_chunk(chunks: Chunks) -> int:
    frames = chunks.get("time", 1) if isinstance(chunks, Mapping) else 1 if chunks == "auto" else chunks
    if not isinstance(frames, int) or isinstance(frames, bool) or frames < 1:
        raise ConfigError(
            f"chunks={chunks!r}: expected frames in a chunk, such as 4, {{'time': 4}} or 'auto'"
        )
    return frames


@dataclass(frozen=True)
class _Slot:
    """One frame of the result: frame `index` of `piece`, or a gap where `piece` is None."""

    time: np.datetime64
    piece: Piece | None
    index: int = 0


def assemble(pieces: list[Piece], *, fill_gaps: str | None, chunks: Chunks, max_bytes: int) -> xr.DataArray:
    """The field of all pieces, in order of time.

    Raises:
        DataError: mixed grids or quantities, duplicate times, a gap without `fill_gaps`, too much for
        `max_bytes`,
            or no data in any frame.
    """
    first = pieces[0]
    _check_alike(pieces)
    slots = _slots(pieces, fill_gaps)
    rows, columns = first.grid.shape
    work = max(piece.work_bytes for piece in pieces)
    held = _frames_in_chunk(chunks) if chunks is not None else len(slots)
    need = float(rows) * columns * 4 * held + work
    cure = "" if chunks is not None else ", or read lazily with chunks="
    if need > max_bytes:
        raise fault(
            first.path,
            f"a field within the cap of {human_bytes(max_bytes)}",
            f"{held} frames of {rows} x {columns} pixels that need {human_bytes(need)}",
            f"pass max_bytes= or fewer files{cure}",
        )
    lazy = None if chunks is None else _lazy(slots, first.grid.shape, fill_gaps, _frames_in_chunk(chunks))
    data = _eager(slots, first.grid.shape, fill_gaps) if lazy is None else lazy
    if lazy is None and bool(np.isnan(data).all()):
        raise fault(
            first.path,
            "data in at least one pixel",
            f"no data in any of {len(slots)} frames",
            "take other files",
        )
    return _field(pieces, slots, data)


def _check_alike(pieces: list[Piece]) -> None:
    first = pieces[0]
    for piece in pieces[1:]:
        if not piece.grid.same_as(first.grid):
            raise fault(
                piece.path, f"the grid of {first.path}, {first.grid}", piece.grid, "open the grids one by one"
            )
        for key in ("units", "accumulation_minutes"):
            if piece.name != first.name or piece.attrs.get(key) != first.attrs.get(key):
                raise fault(
                    piece.path,
                    f"{_quantity(first)} as in {first.path}",
                    _quantity(piece),
                    "open the quantities one by one",
                )


def _quantity(piece: Piece) -> str:
    minutes = piece.attrs.get("accumulation_minutes")
    return f"{piece.name} in {piece.attrs.get('units', '1')}" + (
        f" over {minutes:g} minutes" if minutes else ""
    )


def _slots(pieces: list[Piece], fill_gaps: str | None) -> list[_Slot]:
    """All frames in order of time, gaps included."""
    slots = [_Slot(time, piece, i) for piece in pieces for i, time in enumerate(piece.times)]
    slots.sort(key=lambda slot: slot.time)
    if len(slots) < 2:
        return slots
    times = np.array([slot.time for slot in slots]).astype("datetime64[ns]")
    steps = np.diff(times).astype("timedelta64[ms]").astype(np.float64) / 1000.0
    if float(steps.min()) <= 0:
        at = int(steps.argmin())
        one, two = slots[at], slots[at + 1]
        assert one.piece is not None
        assert two.piece is not None
        raise fault(
            two.piece.path,
            "one frame for each time",
            f"{_say(one.time)} also in {one.piece.path}",
            "remove one of them",
        )
    values, counts = np.unique(np.round(steps), return_counts=True)
    step = max(float(values[counts.argmax()]), float(steps.min()))
    missing = np.round(steps / step).astype(np.int64) - 1
    drift = np.abs(steps - (missing + 1) * step)
    if bool((drift > max(1.0, 0.01 * step)).any()) or int(missing.min()) < 0:
        at = int(np.argmax(np.where(missing < 0, np.inf, drift)))
        piece = slots[at + 1].piece
        assert piece is not None
        raise fault(
            piece.path,
            f"frames every {step / 60:g} minutes",
            f"{steps[at] / 60:g} minutes between {_say(times[at])} and {_say(times[at + 1])}",
            "open evenly spaced files",
        )
    gaps = int(missing.sum())
    if gaps and fill_gaps is None:
        at = int(np.flatnonzero(missing)[0])
        lost = times[at] + np.timedelta64(round(step * 1000), "ms")
        piece = slots[at + 1].piece
        assert piece is not None
        raise fault(
            piece.path,
            f"frames every {step / 60:g} minutes",
            f"no frame at {_say(lost)}" + (f" ({gaps} missing in all)" if gaps > 1 else ""),
            "add the file, or pass fill_gaps='nan', 'linear' or 'previous'",
        )
    if gaps > max(10 * len(slots), 100):
        raise DataError(
            f"{pieces[0].path}: expected frames every {step / 60:g} minutes, found {len(slots)} of "
            f"{len(slots) + gaps}; open the parts one by one"
        )
    return _with_gaps(slots, times, missing, step)


def _with_gaps(slots: list[_Slot], times: np.ndarray, missing: np.ndarray, step: float) -> list[_Slot]:
    out = [slots[0]]
    for slot, start, lost in zip(slots[1:], times[:-1], missing, strict=True):
        out += [
            _Slot(start + np.timedelta64(round(k * step * 1000), "ms"), None) for k in range(1, int(lost) + 1)
        ]
        out.append(slot)
    return out


def _say(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}Z"


def _eager(slots: list[_Slot], shape: tuple[int, int], fill_gaps: str | None) -> np.ndarray:
    """Every frame, read file by file into one array of the final size."""
    data = np.full((len(slots), *shape), np.nan, dtype=np.float32)
    by_piece: dict[int, list[int]] = {}
    for at, slot in enumerate(slots):
        if slot.piece is not None:
            by_piece.setdefault(id(slot.piece), []).append(at)
    for places in by_piece.values():
        piece = slots[places[0]].piece
        assert piece is not None
        _read_into(data, piece, places, [slots[at].index for at in places])
    if fill_gaps in ("linear", "previous"):
        _fill(data, np.array([slot.piece is None for slot in slots]), fill_gaps)
    return data


def _read_into(data: np.ndarray, piece: Piece, places: list[int], indices: list[int]) -> None:
    with reading(piece.path, "frames that can be read"), _closing(piece.frames(indices)) as frames:
        for at, frame in zip(places, frames, strict=True):
            if frame.shape != data.shape[1:]:
                raise fault(
                    piece.path, f"frames of {data.shape[1:]}", f"shape {frame.shape}", "fetch it again"
                )
            data[at] = frame


@contextmanager
def _closing(frames: Iterator[np.ndarray]) -> Iterator[Iterator[np.ndarray]]:
    """The frames, their generator closed at once when reading stops: it may hold a file and a lock."""
    try:
        yield frames
    finally:
        close = getattr(frames, "close", None)
        if close is not None:
            close()


def _fill(data: np.ndarray, is_gap: np.ndarray, how: str) -> None:
    """Fill gaps between frames in place; pixels without data on either side stay without data."""
    known = np.flatnonzero(~is_gap)
    for at in np.flatnonzero(is_gap):
        before = known[known < at][-1]
        after = known[known > at][0]
        part = np.float32(0.0 if how == "previous" else (at - before) / (after - before))
        data[at] = data[before] if how == "previous" else (1 - part) * data[before] + part * data[after]


def _lazy(slots: list[_Slot], shape: tuple[int, int], fill_gaps: str | None, length: int):
    """The same array as `_eager`, in chunks of `length` frames that are read when they are used."""
    import dask.array
    from dask.delayed import delayed

    parts = []
    for start in range(0, len(slots), length):
        stop = min(start + length, len(slots))
        left, right = start, stop
        if fill_gaps in ("linear", "previous"):  # a chunk needs the frames on both sides of its gaps
            while slots[left].piece is None:
                left -= 1
            while slots[right - 1].piece is None:
                right += 1
        block = delayed(_block)(slots[left:right], shape, fill_gaps, start - left, stop - start)
        parts.append(dask.array.from_delayed(block, (stop - start, *shape), dtype=np.float32))
    return dask.array.concatenate(parts, axis=0)


def _block(
    slots: list[_Slot], shape: tuple[int, int], fill_gaps: str | None, skip: int, length: int
) -> np.ndarray:
    return _eager(slots, shape, fill_gaps)[skip : skip + length]


def _field(pieces: list[Piece], slots: list[_Slot], data: Any) -> xr.DataArray:
    first = pieces[0]
    times = np.array([slot.time for slot in slots]).astype("datetime64[ns]")
    coords: dict[str, xr.Variable] = {
        "time": xr.Variable("time", times, {"standard_name": "time", "long_name": "time (UTC)", "axis": "T"}),
        **first.grid.coords(),
    }
    if len(pieces) == 1 and len(slots) == len(first.times):
        order = np.argsort(first.times, kind="stable")
        for name, held in first.coords.items():
            coords[name] = held[order] if held.ndim else held
    attrs = {
        key: value
        for key, value in first.attrs.items()
        if value not in (None, "")
        and (key in ("source", "credit", "history") or all(piece.attrs.get(key) == value for piece in pieces))
    }
    if len(times) > 1:
        attrs["interval_minutes"] = float((times[1] - times[0]) / np.timedelta64(1, "ms")) / 60_000.0
    gaps = [_say(slot.time) for slot in slots if slot.piece is None]
    if gaps:
        attrs["filled_frames"] = " ".join(gaps)
    opened = (
        f"opened by geoscope {__version__} from {len(pieces)} file(s)"  # no clock: same files, same field
    )
    earlier = attrs.get("history")
    attrs["history"] = f"{earlier}\n{opened}" if isinstance(earlier, str) else opened
    return xr.DataArray(data, dims=("time", "y", "x"), coords=coords, name=first.name, attrs=attrs)
