"""Damaged files of every format: always a `GeoscopeError` of one line, or a whole field; never anything else."""

import io
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoscope.data.formats import netcdf3, recognise
from geoscope.data.radar import open_radar
from geoscope.errors import GeoscopeError
from tests.data import radar_files as files
from tests.data.radar_refusals import WRITERS

FUZZ = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    return {kind: write(folder / f"a.{kind}").read_bytes() for kind, write in WRITERS.items()}


def broken_promises(path: Path, kind: str) -> list[str]:
    """What `open_radar` does that it must not: it gives a field as the contract says, within 64 MiB, or one line.

    Any other error than `GeoscopeError` comes through and fails the test.
    """
    asked = f"{path}#1" if kind == "sevir" else str(path)
    try:
        field = open_radar(asked, max_bytes=64 << 20)
    except GeoscopeError as error:
        told = str(error)
        kept = {"one line": "\n" not in told, "names the file": path.name in told}
    else:
        kept = {
            "a DataArray": isinstance(field, xr.DataArray),
            "(time, y, x)": field.dims == ("time", "y", "x"),
            "float32": field.dtype == np.float32,
            "within 64 MiB": field.nbytes <= 64 << 20,
            "all times known": not np.isnat(field["time"].values).any(),
        }
    return [promise for promise, is_kept in kept.items() if not is_kept]


@pytest.mark.parametrize("kind", WRITERS)
@FUZZ
@given(data=st.data())
def test_flipped_bytes(kind: str, originals: dict[str, bytes], tmp_path: Path, data: st.DataObject):
    raw = bytearray(originals[kind])
    near_the_start = st.integers(0, min(len(raw), 3000) - 1)  # where headers are
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(near_the_start | st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(raw)
    assert broken_promises(path, kind) == []


@pytest.mark.parametrize("kind", WRITERS)
@settings(FUZZ, max_examples=10)
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_short(kind: str, originals: dict[str, bytes], tmp_path: Path, share: float):
    raw = originals[kind]
    path = tmp_path / "cut"
    path.write_bytes(raw[: int(share * len(raw))])
    assert broken_promises(path, kind) == []


@FUZZ
@given(data=st.data())
def test_zarr_metadata_with_flipped_bytes(tmp_path: Path, data: st.DataObject):
    store = tmp_path / "store"
    if not store.exists():
        files.cf_dataset().to_zarr(store, consolidated=False, zarr_format=2)
    names = sorted(p for p in store.rglob("*") if p.is_file())
    path = data.draw(st.sampled_from(names))
    before = path.read_bytes()
    raw = bytearray(before)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(32, 126))
    path.write_bytes(raw)
    try:
        assert broken_promises(store, "zarr") == []
    finally:
        path.write_bytes(before)


MAGICS = (
    b"\x89HDF\r\n\x1a\n",
    b"GRIB\0\0\0\x02",
    b"GIF89a",
    b"P5\n",
    b"II*\0",
    b"MM\0*",
    b"CDF\x01",
    b"CDF\x05",
)


@settings(FUZZ, max_examples=60)
@given(
    magic=st.sampled_from(
        (*MAGICS, b"RY", b"RW011200100000520BY", b"\x1f\x8b\x08\0", b"BZh9", b"<VRTDataset", b"")
    ),
    rest=st.binary(max_size=400),
)
def test_noise_behind_every_magic_number(tmp_path: Path, magic: bytes, rest: bytes):
    path = tmp_path / "noise"
    path.write_bytes(magic + rest)
    assert broken_promises(path, "noise") == []


@settings(FUZZ, max_examples=60)
@given(
    product=st.sampled_from(["RW", "RY", "RX", "RV", "RE", "ZZ"]),
    version=st.integers(0, 9),
    interval=st.integers(0, 9999),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.just((900, 900)),
    lead=st.none() | st.integers(0, 999),
)
def test_radolan_headers(
    tmp_path: Path, product: str, version: int, interval: int, shape: tuple, lead: int | None
):
    codes = np.zeros(shape, np.int64)
    path = tmp_path / "radolan"
    path.write_bytes(files.radolan_bytes(product, 0, codes, version, interval, "E-01", lead))
    assert broken_promises(path, "radolan") == []


@settings(FUZZ, max_examples=60)
@given(
    size=st.tuples(st.integers(0, 10**8), st.integers(0, 10**8)),
    depth=st.integers(0, 70000),
    comment=st.text(max_size=60),
)
def test_pgm_headers(tmp_path: Path, size: tuple[int, int], depth: int, comment: str):
    path = tmp_path / "pgm"
    line = " ".join(comment.split()).encode()
    path.write_bytes(b"P5\n# " + line + b"\n# obstime 202005011200\n%d %d\n%d\n" % (*size, depth) + bytes(50))
    assert broken_promises(path, "pgm") == []


@settings(FUZZ, max_examples=40)
@given(numbers=st.lists(st.integers(0, 2**32 - 1), max_size=40), version=st.sampled_from([1, 2, 5]))
def test_classic_headers_of_any_numbers(numbers: list[int], version: int):
    raw = b"CDF" + bytes([version]) + b"".join(n.to_bytes(4, "big") for n in numbers)
    try:
        held = netcdf3.header(io.BytesIO(raw), "noise")
    except GeoscopeError:
        return
    assert isinstance(held.variables, dict)


def test_every_reader_is_recognised_by_content_alone(originals: dict[str, bytes], tmp_path: Path):
    path = tmp_path / "no_ending"
    readers = set()
    for raw in originals.values():
        path.write_bytes(raw)
        readers.add(recognise.reader_for(path))
    assert len(readers) == len(WRITERS) - 2  # a tar is RADOLAN, a PGM may be gzipped
