"""Folders in SEVIR's layout, small: CATALOG.csv and data/vil/YYYY/*.h5 of uint8 (event, row, column, time)."""

import csv
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

COLUMNS = [
    *("id", "file_name", "file_index", "img_type", "time_utc", "minute_offsets"),
    *("episode_id", "event_id", "event_type", "llcrnrlat", "llcrnrlon", "urcrnrlat", "urcrnrlon", "proj"),
    *("size_x", "size_y", "height_m", "width_m", "data_min", "data_max", "pct_missing"),
]
PROJECTION = "+proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0 +ellps=sphere"


@dataclass
class Listed:
    """One event to write. ``rows``: how often the catalogue lists it."""

    id: str
    time: str = "2018-06-01 12:00:00"
    missing: str = "0.0"
    rows: int = 1
    file: str = "vil/2018/SEVIR_VIL_STORMEVENTS_2018_0101_0630.h5"
    codes: np.ndarray | None = None


def codes_of(number: int, side: int = 12, frames: int = 49) -> np.ndarray:
    """Codes (H, W, T) that say who they are: the corner holds the event's number, [0, 1] the frame."""
    codes = np.random.default_rng(number).integers(0, 255, (side, side, frames), dtype=np.uint8)
    codes[0, 0], codes[0, 1] = number, np.arange(frames)
    return codes


def write_sevir_folder(root: Path, events: list[Listed], columns: list[str] = COLUMNS) -> Path:
    """Write the events, in this order, into their files and list them; gives the folder."""
    files: dict[str, list[tuple[str, np.ndarray]]] = {}
    rows = []
    for number, event in enumerate(events):
        codes = codes_of(number) if event.codes is None else event.codes
        held = files.setdefault(event.file, [])
        row = dict.fromkeys(COLUMNS, "0") | {
            "id": event.id,
            "file_name": event.file,
            "file_index": str(len(held)),
            "img_type": "vil",
            "time_utc": event.time,
            "minute_offsets": ":".join(str(5 * (i - codes.shape[2] // 2)) for i in range(codes.shape[2])),
            "llcrnrlat": "33.3",
            "llcrnrlon": "-101.2",
            "proj": PROJECTION,
            "size_x": str(codes.shape[1]),
            "size_y": str(codes.shape[0]),
            "height_m": "384000.0",
            "width_m": "384000.0",
            "pct_missing": event.missing,
        }
        rows += [row] * event.rows
        rows.append(row | {"img_type": "ir107", "file_name": event.file.replace("vil", "ir107")})
        held.append((event.id, codes))
    for name, held in files.items():
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        codes = np.stack([each for _, each in held])
        with h5py.File(path, "w") as file:
            file.create_dataset("vil", data=codes, chunks=(1, *codes.shape[1:]), compression="gzip")
            file["id"] = np.array([identity.encode() for identity, _ in held])
    with (root / "CATALOG.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return root


def three_splits(root: Path) -> Path:
    """Four events to train, two to validate, two to test, over three files."""
    later = "vil/2019/SEVIR_VIL_STORMEVENTS_2019_0101_0630.h5"
    random = "vil/2019/SEVIR_VIL_RANDOMEVENTS_2019_0701_1231.h5"
    return write_sevir_folder(
        root,
        [
            *(Listed(f"S{9 - number}") for number in range(3)),
            Listed("S1", "2019-01-01 00:00:00", file=later),
            Listed("S2", "2019-01-01 00:05:00", file=later),
            Listed("S3", "2019-06-01 00:00:00", file=later),
            Listed("R4", "2019-06-01 00:05:00", file=random),
            Listed("R5", "2019-11-01 06:00:00", file=random),
        ],
    )
