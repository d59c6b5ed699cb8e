"""Pack Natural Earth shapefiles into the two small files beside this module.

    python -m geoscope.viz.natural_earth.repack FOLDER

FOLDER has the sub-folders `physical` and `cultural` with ne_110m_* and ne_50m_* shapefiles. The layout of the
result stands in README.md. Shapefile layout: ESRI Shapefile Technical Description, July 1998.
"""

import itertools
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = {
    "land": "physical/ne_{scale}_land",
    "coast": "physical/ne_{scale}_coastline",
    "borders": "cultural/ne_{scale}_admin_0_boundary_lines_land",
    "countries": "cultural/ne_{scale}_admin_0_countries",
}
UNITS_PER_DEGREE = 10_000
_POLYLINE, _POLYGON = 3, 5


def read_parts(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """The parts of a .shp file of lines or polygons, (n, 2) degrees each, and the record of each part."""
    data = path.read_bytes()
    position, record, parts, shapes = 100, 0, [], []
    while position < len(data):
        (words,) = struct.unpack_from(">i", data, position + 4)
        position += 8
        (kind,) = struct.unpack_from("<i", data, position)
        if kind in (_POLYLINE, _POLYGON):
            count, points = struct.unpack_from("<2i", data, position + 36)
            starts = [*struct.unpack_from(f"<{count}i", data, position + 44), points]
            offset = position + 44 + 4 * count
            xy = np.frombuffer(data, "<f8", 2 * points, offset).reshape(points, 2)
            parts += [xy[a:b] for a, b in itertools.pairwise(starts)]
            shapes += [record] * count
        record += 1
        position += 2 * words
    return parts, shapes


def read_names(path: Path) -> list[str]:
    """The column `name` of a .dbf file, in record order."""
    data = path.read_bytes()
    records, header, length = struct.unpack_from("<IHH", data, 4)
    offset, position = 1, 32
    while data[position] != 0x0D:
        name = data[position : position + 11].split(b"\0")[0].decode("ascii").lower()
        size = data[position + 16]
        if name == "name":
            rows = (data[header + i * length + offset :][:size] for i in range(records))
            return [row.decode("utf-8", "replace").strip() for row in rows]
        offset += size
        position += 32
    raise SystemExit(f"{path}: no column called name")


def pack(folder: Path, scale: str) -> dict[str, np.ndarray]:
    """The arrays of one scale ("110m" or "50m"), as README.md describes them."""
    arrays: dict[str, np.ndarray] = {}
    for layer, pattern in LAYERS.items():
        path = folder / pattern.format(scale=scale)
        parts, shapes = read_parts(path.with_suffix(".shp"))
        packed, kept = [], []
        for part, shape in zip(parts, shapes, strict=True):
            whole = np.round(part * UNITS_PER_DEGREE).astype(np.int32)
            moved = np.concatenate([[True], np.any(np.diff(whole, axis=0) != 0, axis=1)])
            if moved.sum() >= 2:
                packed.append(np.diff(whole[moved], axis=0, prepend=np.zeros((1, 2), np.int32)))
                kept.append(shape)
        arrays[f"{layer}_points"] = np.concatenate(packed).astype(np.int32)
        arrays[f"{layer}_starts"] = np.cumsum([0, *map(len, packed)]).astype(np.int32)
        arrays[f"{layer}_shape"] = np.array(kept, np.int32)
    names = read_names((folder / LAYERS["countries"].format(scale=scale)).with_suffix(".dbf"))
    arrays["countries_names"] = np.array(names)
    return arrays


def main(folder: str) -> None:
    """Write ne_110m.npz and ne_50m.npz beside this module."""
    for scale in ("110m", "50m"):
        target = Path(__file__).parent / f"ne_{scale}.npz"
        arrays: dict[str, Any] = pack(Path(folder), scale)
        np.savez_compressed(target, **arrays)
        print(f"{target.name}: {target.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
