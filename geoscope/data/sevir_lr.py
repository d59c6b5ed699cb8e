"""SEVIR-LR from SEVIR: every second frame and the maximum of 3 x 3 pixels, so 25 frames of 128 x 128 every 10 minutes.

Source: the data set published with PreDiff (Gao et al. 2023). The maximum, not the mean, and of the stored codes: a
block with one missing pixel (code 255) is missing.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from geoscope.data import hdf5
from geoscope.data.formats.faults import fault
from geoscope.data.sevir_catalogue import CATALOGUE, catalogue_rows, data_folder, data_path, find_catalogue
from geoscope.data.sevir_windows import read_event_codes
from geoscope.data.whole_files import whole_file
from geoscope.errors import ConfigError, DataError

TIME_STEP, BLOCK = 2, 3
_SOURCE = "reduced_from"  # attribute of what is written: the source file's name, size in bytes and shape
_REDO = "remove it and start again, or choose another folder"


@dataclass(frozen=True)
class Prepared:
    """What a conversion did: files written now, files found whole from before, and events in all of them."""

    written: int
    kept: int
    events: int
    left_out: int


def reduce_codes(codes: np.ndarray) -> np.ndarray:
    """Codes (..., H, W, T) at SEVIR-LR's resolution: (..., H/3, W/3, ceil(T/2)).

    Raises:
        DataError: H or W is not a multiple of 3.
    """
    *rest, height, width, _ = codes.shape
    if height % BLOCK or width % BLOCK:
        raise DataError(
            f"frames of {height} x {width}: expected multiples of {BLOCK}; take SEVIR's own files"
        )
    codes = codes[..., ::TIME_STEP]
    blocks = codes.reshape(*rest, height // BLOCK, BLOCK, width // BLOCK, BLOCK, codes.shape[-1])
    return blocks.max(axis=(-4, -2))


def prepare_sevir_lr(
    root: str | Path,
    out: str | Path,
    *,
    leave_out_absent: bool = False,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Prepared:
    """Convert all VIL files that the catalogue in ``root`` names into ``out``, in SEVIR's own layout.

    Each file appears whole or not at all; one that is there already is kept, so the same call goes on where a broken
    one stopped. The catalogue comes last: where it is, the folder is complete. Its data_min, data_max and pct_missing
    stay those of the full resolution.

    Raises:
        ConfigError: ``out`` is ``root``, or the folder above it does not exist.
        DataError: no catalogue, a file is absent (unless left out) or damaged, ``out`` holds something else, or the
            disk is full.
    """
    root, out = Path(root), Path(out)
    catalogue = find_catalogue(root)
    if out.resolve() == root.resolve():
        raise ConfigError(f"{out}: expected another folder than SEVIR's own; choose a new one")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: the folder {out.absolute().parent} does not exist; make it first")
    folder = data_folder(catalogue)
    rows = [
        (data_path(catalogue, folder, line, row["file_name"]), row)
        for line, row in catalogue_rows(catalogue)
        if row["img_type"] == "vil"
    ]
    names = {path: row["file_name"] for path, row in rows}
    absent = sorted(path for path in names if not path.is_file())
    if absent and not leave_out_absent:
        raise DataError(
            f"{absent[0]}: expected a file that {CATALOGUE} names, found nothing, nor {len(absent) - 1} others; fetch "
            "them, or leave their events out with --leave-out-absent"
        )
    present = sorted(set(names) - set(absent))
    if not present:
        raise fault(catalogue, "VIL files that are there", f"none of {len(names)}", "fetch some of data/vil")
    written = kept = events = 0
    whole, done = sum(path.stat().st_size for path in present), 0
    for path in present:
        size = path.stat().st_size
        target = out / "data" / names[path]
        if _is_whole(path, target):
            kept += 1
        else:
            _convert(path, target, partial(_report, progress, path.name, done / whole, size / whole))
            written += 1
        events += _shape(path)[0]
        done += size
        progress(path.name, done / whole)
    _write_catalogue(out / CATALOGUE, [row for path, row in rows if path not in absent])
    return Prepared(written, kept, events, len(absent))


def _shape(path: Path) -> tuple[int, int, int, int]:
    """The shape of a file's VIL events."""
    with hdf5.opened(path, "a SEVIR HDF5 file") as file:
        data = hdf5.dataset(file, "vil", path)
        if data.ndim != 4 or data.dtype != np.uint8:
            expected = "vil as uint8 (event, row, column, time)"
            raise fault(path, expected, f"{data.dtype} {data.shape}", "fetch the file again")
        if data.shape[1] % BLOCK or data.shape[2] % BLOCK:
            raise fault(
                path, f"rows and columns in multiples of {BLOCK}", data.shape, "take SEVIR's own files"
            )
        return data.shape


def _signature(path: Path) -> str:
    return f"{path.name}, {path.stat().st_size} bytes, {'x'.join(str(length) for length in _shape(path))}"


def _is_whole(path: Path, target: Path) -> bool:
    """Whether ``target`` is there and was made from this very file.

    Raises:
        DataError: it is something else.
    """
    if not target.exists():
        return False
    with hdf5.opened(target, "a file of SEVIR-LR") as file:
        found = hdf5.attribute(file, _SOURCE)
    if found != _signature(path):
        raise fault(target, f"SEVIR-LR made from {_signature(path)}", found or "something else", _REDO)
    return True


def _report(
    progress: Callable[[str, float], None], name: str, done: float, size: float, share: float
) -> None:
    progress(name, done + share * size)


def _convert(path: Path, target: Path, report: Callable[[float], None]) -> None:
    """Write one file, event by event, and report the share that is done."""
    count, height, width, frames = _shape(path)
    small = (height // BLOCK, width // BLOCK, -(-frames // TIME_STEP))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{target.parent} cannot be made: {error.strerror}; choose another folder") from error
    for left_over in target.parent.glob(f".{target.stem}.*.part{target.suffix}"):  # of a run that was killed
        left_over.unlink()
    with whole_file(target) as part, hdf5.LOCK, h5py.File(part, "w") as file:
        data = file.create_dataset(
            "vil", (count, *small), np.uint8, chunks=(1, *small), compression="gzip", compression_opts=4
        )
        for index in range(count):
            data[index] = reduce_codes(read_event_codes(path, index))
            report((index + 1) / count)
        with hdf5.opened(path) as source:
            if isinstance(source.get("id"), h5py.Dataset):
                hdf5.check_size(source["id"], path, 1 << 26)
                file["id"] = source["id"][()]
        file.attrs[_SOURCE] = _signature(path)


def _write_catalogue(path: Path, rows: list[dict[str, str]]) -> None:
    """The rows of the converted files, with their new size and every second offset."""
    changed = []
    for row in rows:
        row = dict(row)
        for name in ("size_x", "size_y"):
            if row.get(name, "").isdecimal():
                row[name] = str(int(row[name]) // BLOCK)
        if "minute_offsets" in row:
            row["minute_offsets"] = ":".join(row["minute_offsets"].split(":")[::TIME_STEP])
        changed.append(row)
    with whole_file(path, overwrite=True) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(changed[0]))
        writer.writeheader()
        writer.writerows(changed)
