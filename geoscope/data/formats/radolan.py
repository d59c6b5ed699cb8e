"""RADOLAN and RADVOR composites of Deutscher Wetterdienst: a text header, byte 3, then rows from south to north.

Where composites carry lead times (RADVOR) they are forecasts, and the field says when they were issued. A
file may be plain, gzipped or bzip2ed, or a tar of the lead times of one forecast. Grids and earth models are
those of DWD's "Radarkomposits - Projektionen und Gitter" (2022): a sphere up to format version 4, WGS 84
from version 5.
"""

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from geoscope.data.formats import compressed
from geoscope.data.formats.faults import check_bytes, fault, reading
from geoscope.data.formats.pieces import Grid, Piece, Request, crs_from, regular_grid, utc
from geoscope.data.formats.rain import NO_ECHO_DBZ, Quantity, accumulated_rain, reflectivity

_START = re.compile(rb"^([A-Z]{2})(\d{6})(\d{5})(\d{4})BY")
_FIELD = {
    "bytes": re.compile(r"BY\s*(\d{5,10})(?=VS)"),
    "version": re.compile(r"VS\s*(\d{1,2})"),
    "precision": re.compile(r"PR\s*E([-+ ]\d\d)"),
    "interval": re.compile(r"INT\s*(\d{1,4})"),
    "interval_unit": re.compile(r"INT\s*\d{1,4}U(\d)"),
    "grid": re.compile(r"GP\s*(\d{1,4})x\s*(\d{1,4})"),
    "lead": re.compile(r"VV\s*(\d{1,4})"),
}
_LONGEST_HEADER = 2000
# rows, columns: km that the lower left corner lies east and north of that of the 900 x 900 grid
_GRIDS = {(900, 900): (0, 0), (1100, 900): (80, -100), (1200, 1100): (-20, -150), (1500, 1400): (-150, -350)}
_EARTH = {
    "sphere": ("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040 +units=m", -523462.167, -4658644.725),
    "WGS 84": ("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +ellps=WGS84 +units=m", -523696.835, -4672088.862),
}
_REFLECTIVITY = ("RX", "WX", "EX", "FX", "FZ")
_RAIN = (
    *("RW", "RY", "RV", "RS", "RQ", "RH", "RB", "RL", "RU", "RK", "RN", "RG", "RZ", "YW"),
    *("SF", "SQ", "SH", "SX", "S2", "S3", "W1", "W2", "W3", "W4"),
)
_FRACTION = (
    "RE"  # RADVOR: share of frozen precipitation, 0 to 1; where there is none it is flagged as missing
)
_NODATA, _NEGATIVE, _CLUTTER = 0x2000, 0x4000, 0x8000
_MOST_MEMBERS = 1000


@dataclass(frozen=True, kw_only=True)
class _Composite:
    """One composite's header. `offset` is where its pixels begin; times are seconds since 1970."""

    product: str
    issued: float
    lead_minutes: float | None
    version: int
    precision: float
    interval_minutes: float
    shape: tuple[int, int]
    offset: int

    @property
    def bytes_a_pixel(self) -> int:
        return 1 if self.product in _REFLECTIVITY else 2

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1] * self.bytes_a_pixel


def recognises(head: bytes) -> bool:
    """Whether these first bytes are a RADOLAN header, or a tar whose first member's is."""
    return bool(_START.match(head)) or _is_tar(head)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar" and bool(_START.match(head[512:]))


def read(path: Path, request: Request) -> list[Piece]:
    """The composite of a file, or all composites of a tar in one piece (kept in memory as they are on disk).

    Raises:
        DataError: a damaged header, an unknown product or grid, or fewer bytes than the header says.
    """
    blob = compressed.contents(path, request.max_bytes)
    members = _tar_members(path, blob, request.max_bytes) if _is_tar(blob[:1024]) else [blob]
    headers = [_header(path, member, request.max_bytes) for member in members]
    first = headers[0]
    if request.variable not in (None, "rain_rate", first.product):
        raise fault(path, f"variable {first.product!r}", repr(request.variable), "leave variable= out")
    for other in headers:
        if (other.product, other.shape, other.interval_minutes) != (
            first.product,
            first.shape,
            first.interval_minutes,
        ):
            raise fault(path, f"only {first.product} composites of one grid", other.product, "unpack the tar")
    quantity = _meaning(first, request)
    valid = np.array([utc(held.issued + 60 * (held.lead_minutes or 0)) for held in headers])
    source: dict[str, object] = {
        "source": f"DWD {'RADVOR' if first.product in ('RE', 'RV', 'RQ') else 'RADOLAN'} {first.product}",
        "institution": "Deutscher Wetterdienst",
        "credit": "Radar: Deutscher Wetterdienst (GeoNutzV)",
        "licence": "GeoNutzV",
    }
    coords: dict[str, xr.Variable] = {}
    if first.lead_minutes is not None:
        source["issued"] = f"{datetime.fromtimestamp(first.issued, UTC):%Y-%m-%dT%H:%M:%SZ}"
        coords["forecast_reference_time"] = xr.Variable((), utc(first.issued))
        coords["lead_time"] = xr.Variable("time", valid - utc(first.issued))
    return [
        Piece(
            path=str(path),
            times=valid,
            grid=_grid(path, first),
            name=quantity.name,
            attrs=quantity.attrs | source,
            frames=partial(_frames, tuple(members), tuple(headers), quantity),
            work_bytes=len(blob) + sum(map(len, members)) + 12 * first.shape[0] * first.shape[1],
            coords=coords,
        )
    ]


def _meaning(held: _Composite, request: Request) -> Quantity:
    if held.product in _REFLECTIVITY:
        return reflectivity(request.zr)
    if held.product == _FRACTION:
        about: dict[str, object] = {"units": "1", "long_name": "share of frozen precipitation (RADVOR RE)"}
        return Quantity(name="RE", attrs=about)
    return accumulated_rain(held.interval_minutes)


def _tar_members(path: Path, blob: bytes, max_bytes: int) -> list[bytes]:
    """The composites of a tar; what is no composite is passed over."""
    out: list[bytes] = []
    held = len(blob)
    with (
        reading(path, "a tar of RADOLAN composites"),
        tarfile.open(fileobj=io.BytesIO(blob), mode="r:") as tar,
    ):
        for member in tar:
            held += max(member.size, 0)
            check_bytes(path, held, max_bytes, "a tar")
            file = tar.extractfile(member) if member.isreg() else None
            content = b"" if file is None else file.read()
            if _START.match(content):
                out.append(content)
            if len(out) > _MOST_MEMBERS:
                raise fault(path, f"at most {_MOST_MEMBERS} composites", "more", "unpack the tar")
    return out


def _header(path: Path, blob: bytes, max_bytes: int) -> _Composite:
    """The header before byte 3, its claims compared with the size of `blob`."""
    end = blob.find(b"\x03", 0, _LONGEST_HEADER)
    start = _START.match(blob)
    if end < 0 or start is None:
        raise fault(path, "a RADOLAN header that ends in byte 3", "none", "fetch the file again")
    text = blob[:end].decode("ascii", "replace")
    found = {name: pattern.search(text) for name, pattern in _FIELD.items()}
    for name in ("bytes", "version", "precision", "interval", "grid"):
        if found[name] is None:
            raise fault(path, f"a RADOLAN header with its {name}", text[:80], "fetch the file again")
    product = start[1].decode()
    if product not in (*_REFLECTIVITY, *_RAIN, _FRACTION):
        raise fault(
            path,
            "rain or reflectivity of RADOLAN or RADVOR",
            f"product {product}",
            "take RW, RY, RV or RX, for example",
        )
    rows, columns = (int(part) for part in _group(found, "grid"))
    interval = float(_group(found, "interval")[0])
    if found["interval_unit"] is not None and _group(found, "interval_unit")[0] == "1":
        interval *= 24 * 60
    out = _Composite(
        product=product,
        issued=_issued(path, start),
        lead_minutes=float(_group(found, "lead")[0]) if found["lead"] is not None else None,
        version=int(_group(found, "version")[0]),
        precision=10.0 ** int(_group(found, "precision")[0].replace(" ", "+")),
        interval_minutes=interval,
        shape=(rows, columns),
        offset=end + 1,
    )
    check_bytes(path, rows * columns * 12.0, max_bytes, "a composite")
    if len(blob) != out.offset + out.size or interval <= 0:
        raise fault(
            path,
            f"{rows} x {columns} pixels of {out.bytes_a_pixel} byte(s) after the header",
            f"{len(blob) - out.offset} bytes",
            "the file is cut short or damaged: fetch it again",
        )
    return out


def _group(found: dict[str, re.Match[str] | None], name: str) -> tuple[str, ...]:
    match = found[name]
    assert match is not None
    return tuple(match.groups())


def _issued(path: Path, start: re.Match[bytes]) -> float:
    day_hour_minute, month_year = start[2].decode(), start[4].decode()
    try:
        moment = datetime.strptime(day_hour_minute + month_year, "%d%H%M%m%y").replace(tzinfo=UTC)
    except ValueError as error:
        raise fault(
            path, "a time DDHHMM MMYY", f"{day_hour_minute} {month_year}", "fetch the file again"
        ) from error
    return moment.timestamp()


def _grid(path: Path, held: _Composite) -> Grid:
    if held.shape not in _GRIDS:
        known = ", ".join(f"{rows} x {columns}" for rows, columns in _GRIDS)
        raise fault(
            path, f"a grid of {known}", f"{held.shape[0]} x {held.shape[1]}", "take a national composite"
        )
    text, left, bottom = _EARTH["sphere" if held.version < 5 else "WGS 84"]
    east, north = _GRIDS[held.shape]
    top = bottom + 1000.0 * (north + held.shape[0])
    return regular_grid(crs_from(path, text), left + 1000.0 * east, top, 1000.0, 1000.0, held.shape)


def _frames(
    members: tuple[bytes, ...], headers: tuple[_Composite, ...], quantity: Quantity, indices: Sequence[int]
) -> Iterator[np.ndarray]:
    for index in indices:
        held, blob = headers[index], members[index]
        if held.bytes_a_pixel == 1:
            raw = np.frombuffer(blob, np.uint8, offset=held.offset).reshape(held.shape)
            values = raw.astype(np.float32) * np.float32(0.5) + np.float32(-32.5)
            values[raw == 0] = NO_ECHO_DBZ
            values[raw >= 249] = np.nan  # 249 clutter, 250 no data
        else:
            raw = np.frombuffer(blob, "<u2", offset=held.offset).reshape(held.shape)
            values = (raw & 0x0FFF).astype(np.float32) * np.float32(held.precision)
            values[(raw & (_NODATA | _NEGATIVE | _CLUTTER)) > 0] = np.nan
        yield quantity.convert(values[::-1])
