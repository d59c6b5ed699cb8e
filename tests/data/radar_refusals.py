"""What the tests of bad input share: a writer for each format, and the one line of a refusal."""

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from geoscope.data.radar import open_radar
from geoscope.errors import DataError
from tests.data import radar_files as files


def refusal(path: object, **options: object) -> str:
    """The one line with which `path` is refused."""
    with pytest.raises(DataError) as caught:
        open_radar(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1200
    assert "expected" in text
    assert "found" in text
    return text


def write_radolan(path: Path, frame: int = 0) -> Path:
    path.write_bytes(files.radolan_bytes("RY", frame))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "bom": files.write_bom,
    "knmi": files.write_knmi,
    "odim": files.write_odim,
    "grib": files.write_grib,
    "radolan": write_radolan,
    "tar": lambda path: files.write_radolan_tar(path, leads=(0,)),
    "pgm": files.write_pgm,
    "pgm.gz": files.write_pgm,
    "gif": files.write_gif,
    "geotiff": files.write_geotiff,
    "cf": files.write_cf,
    "classic": files.write_classic,
    "sevir": files.write_sevir,
}


def replace_dataset(path: Path, name: str, shape: tuple[int, ...], dtype: str = "f8") -> None:
    """A dataset of any size that takes no space on disk, with the attributes of the one that it replaces."""
    with h5py.File(path, "a") as file:
        attrs = {k: v for k, v in file[name].attrs.items() if k not in ("DIMENSION_LIST", "REFERENCE_LIST")}
        del file[name]
        chunks = tuple(min(n, 16) for n in shape)
        file.create_dataset(name, shape=shape, dtype=dtype, chunks=chunks).attrs.update(attrs)
