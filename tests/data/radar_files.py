"""Small files in the layouts of the originals, written by hand, so that every reader is tried without them.

`rain_codes` is the pattern that they hold: dry, a shower, and the code of no data in the first row.
"""

import bz2
import gzip
import io
import struct
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from PIL import Image
from rasterio import Affine
from rasterio.io import MemoryFile

START = datetime(2020, 5, 1, 12, 0, tzinfo=UTC)


def at(frame: int, minutes: float = 5) -> datetime:
    """The time of a frame."""
    return START + timedelta(minutes=minutes * frame)


def rain_codes(shape: tuple[int, int], nodata: int, frame: int = 0, value: int = 100) -> np.ndarray:
    """Integer codes: `nodata` in row 0, a shower of `value` that moves a column a frame, else 0."""
    codes = np.zeros(shape, np.int64)
    codes[2:4, 1 + frame : 3 + frame] = value
    codes[0] = nodata
    return codes


def write_bom(path: Path, frame: int = 0, minutes: int = 5, shape: tuple[int, int] = (6, 8)) -> Path:
    """Rainfields: int16 of 0.05 mm, y and x in km, an Albers mapping."""
    end = int(at(frame, minutes).timestamp())
    with h5py.File(path, "w") as file:
        rain = file.create_dataset("precipitation", data=rain_codes(shape, -1, frame).astype(np.int16))
        rain.attrs.update({"scale_factor": 0.05, "add_offset": 0.0, "_FillValue": np.int16(-1)})
        rain.attrs.update({"units": np.bytes_("kg m-2"), "grid_mapping": np.bytes_("proj")})
        proj = file.create_dataset("proj", data=np.int8(0))
        proj.attrs["grid_mapping_name"] = np.bytes_("albers_conical_equal_area")
        proj.attrs["standard_parallel"] = np.array([-26.2, -29.3])
        proj.attrs["longitude_of_central_meridian"] = 153.24
        proj.attrs["latitude_of_projection_origin"] = -27.7178
        proj.attrs.update({"semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.31414})
        file["valid_time"], file["start_time"] = end, end - 60 * minutes
        for name, values in (("x", np.arange(shape[1]) * 0.5), ("y", -np.arange(shape[0]) * 0.5)):
            file.create_dataset(name, data=values).attrs["units"] = np.bytes_("km")
    return path


def write_knmi(path: Path, frame: int = 0, minutes: int = 5, shape: tuple[int, int] = (6, 8)) -> Path:
    """KNMI: uint16 of 0.01 mm, offsets in pixels from the projection's origin."""
    with h5py.File(path, "w") as file:
        image = file.create_group("image1")
        image.attrs["image_geo_parameter"] = np.bytes_("ACCUMULATED_PRECIPITATION_[MM]")
        image["image_data"] = rain_codes(shape, 65535, frame).astype(np.uint16)
        calibration = image.create_group("calibration")
        calibration.attrs["calibration_formulas"] = np.bytes_("GEO=0.01*PV+0.0")
        calibration.attrs["calibration_missing_data"] = np.array([65535])
        calibration.attrs["calibration_out_of_image"] = np.array([65535])
        where = file.create_group("geographic")
        where.attrs.update({"geo_column_offset": 0.0, "geo_row_offset": 3650.0})
        where.attrs.update({"geo_pixel_size_x": 1.0, "geo_pixel_size_y": -1.0})
        where.create_group("map_projection").attrs["projection_proj4_params"] = np.bytes_(
            "+proj=stere +lat_0=90 +lon_0=0.0 +lat_ts=60.0 +a=6378.137 +b=6356.752 +x_0=0 +y_0=0"
        )
        times = file.create_group("overview")
        for which, moment in (
            ("start", at(frame, minutes) - timedelta(minutes=minutes)),
            ("end", at(frame, minutes)),
        ):
            text = moment.strftime("%d-%b-%Y;%H:%M:%S.000").upper()
            times.attrs[f"product_datetime_{which}"] = np.bytes_(text)
    return path


def write_odim(
    path: Path, frame: int = 0, quantity: str = "RATE", values: np.ndarray | None = None, minutes: int = 5
) -> Path:
    """ODIM_H5: float64 with the codes of OPERA for no data and no echo, on the grid of OPERA's 2 km."""
    if values is None:
        values = rain_codes((6, 8), 0, frame, 4).astype(np.float64)
        values[0], values[1] = -9999000.0, -8888000.0
    with h5py.File(path, "w") as file:
        file.attrs["Conventions"] = np.bytes_("ODIM_H5/V2_4")
        what = file.create_group("what")
        what.attrs.update({"object": np.bytes_("COMP"), "source": np.bytes_("ORG:247")})
        what.attrs.update({"version": np.bytes_("H5rad 2.4")})
        what.attrs["date"] = np.bytes_(at(frame, minutes).strftime("%Y%m%d"))
        what.attrs["time"] = np.bytes_(at(frame, minutes).strftime("%H%M%S"))
        where = file.create_group("where")
        where.attrs["projdef"] = np.bytes_(
            "+proj=laea +lat_0=55.0 +lon_0=10.0 +x_0=1950000.0 +y_0=-2100000.0 +units=m +ellps=WGS84"
        )
        where.attrs.update({"UL_lon": -39.5357864125034, "UL_lat": 67.0228327624372})
        where.attrs.update({"xscale": 2000.0, "yscale": 2000.0})
        where.attrs.update({"xsize": values.shape[1], "ysize": values.shape[0]})
        held = file.create_group("dataset1/data1/what")
        held.attrs.update({"quantity": np.bytes_(quantity), "gain": 1.0, "offset": 0.0})
        held.attrs.update({"nodata": -9999000.0, "undetect": -8888000.0})
        file["dataset1/data1/data"] = values
        span = file.create_group("dataset1/what")
        for which, moment in (
            ("start", at(frame, minutes) - timedelta(minutes=minutes)),
            ("end", at(frame, minutes)),
        ):
            span.attrs[f"{which}date"] = np.bytes_(moment.strftime("%Y%m%d"))
            span.attrs[f"{which}time"] = np.bytes_(moment.strftime("%H%M%S"))
    return path


def radolan_bytes(
    product: str = "RY",
    frame: int = 0,
    codes: np.ndarray | None = None,
    version: int = 3,
    interval: int = 5,
    precision: str = "E-02",
    lead: int | None = None,
) -> bytes:
    """A composite of 900 x 900 pixels (or of `codes`, given from south to north)."""
    if codes is None:
        codes = np.zeros((900, 900), np.int64)
        codes[450:460, 450:460] = 100
        codes[-1] = 0x29C4  # no data in the north
    data = codes.astype(np.uint8 if product == "RX" else "<u2").tobytes()
    moment = at(frame)
    tail = f"VS{version:2d}SW   2.13.1PR {precision}INT{interval:4d}GP{codes.shape[0]:4d}x{codes.shape[1]:4d}"
    tail += (f"VV {lead:03d}" if lead is not None else "") + "MS  5<boo>"
    begin = f"{product}{moment:%d%H%M}10000{moment:%m%y}BY"
    total = len(begin) + 7 + len(tail) + 1 + len(data)
    return f"{begin}{total:7d}{tail}".encode() + b"\x03" + data


def write_radolan_tar(path: Path, leads: tuple[int, ...] = (0, 5, 10)) -> Path:
    """A RADVOR forecast: a bzip2ed tar with a composite for each lead time."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        for lead in leads:
            content = radolan_bytes("RV", lead=lead, version=5)
            info = tarfile.TarInfo(f"DE_RV_{lead:03d}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(bz2.compress(held.getvalue(), 1))
    return path


PGM_COMMENTS = """# obstime {time}
# producttype CAPPI
# productname LOWEST
# param CorrectedReflectivity
# projection radar {{
# type stereographic
# centrallongitude 25
# centrallatitude 90
# truelatitude 60
# bottomleft 18.600000 57.930000
# topright 34.903000 69.005000
# }}
"""


def pgm_bytes(frame: int = 0, shape: tuple[int, int] = (6, 8)) -> bytes:
    """FMI: eight-bit reflectivity, 255 = no data, 0 = no echo, 124 = 30 dBZ."""
    comments = PGM_COMMENTS.format(time=f"{at(frame):%Y%m%d%H%M}")
    codes = rain_codes(shape, 255, frame, 124).astype(np.uint8)
    return f"P5\n{comments}{shape[1]} {shape[0]}\n255\n".encode() + codes.tobytes()


def write_pgm(path: Path, frame: int = 0) -> Path:
    """The same, gzipped where the name says so."""
    content = pgm_bytes(frame)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def write_gif(
    path: Path, frame: int = 0, comment: str | None = None, shape: tuple[int, int] = (640, 710)
) -> Path:
    """MeteoSwiss AQC: palette indices on the Swiss grid."""
    codes = rain_codes(shape, 255, frame, 120).astype(np.uint8)
    image = Image.frombytes("P", shape[::-1], codes.tobytes())
    image.putpalette([level for level in range(256) for _ in range(3)])
    text = comment or f"generated by Meteoswiss\nPRDT=AQC{at(frame):%y%j%H%M} ACCUm=000005 DeltaT=000005"
    image.save(path, format="GIF", comment=text.encode(), optimize=False)
    return path


def write_geotiff(
    path: Path, frame: int = 0, crs: str | None = "EPSG:3067", shape: tuple[int, int] = (6, 8), **tags: str
) -> Path:
    """One frame as FMI publishes it: eight-bit reflectivity with gain, offset and codes in its tags."""
    codes = rain_codes(shape, 255, frame, 124).astype(np.uint8)
    items = (
        f'<Item name="Observation time" format="YYYYMMDDhhmm">{at(frame):%Y%m%d%H%M}</Item>'
        '<Item name="Quantity" unit="dBZ">Corrected reflectivity</Item><Item name="Gain">0.5</Item>'
        '<Item name="Offset">-32.0</Item><Item name="Nodata">255</Item><Item name="Undetect">0</Item>'
    )
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": shape[0],
        "width": shape[1],
        "crs": crs,
    }
    with rasterio.open(path, "w", **profile, transform=Affine(1000, 0, 0, 0, -1000, 7_000_000)) as data:
        data.write(codes, 1)
        data.update_tags(**(tags or {"GDAL_METADATA": f"<GDALMetadata>{items}</GDALMetadata>"}))
    return path


def write_grib(path: Path, frame: int = 0, parameter: str = "6 1", values: np.ndarray | None = None) -> Path:
    """An MRMS message, by default PrecipRate: mm/h, -3 outside coverage."""
    if values is None:
        values = rain_codes((6, 8), -3, frame, 4).astype(np.float32)
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "height": 6, "width": 8, "crs": "EPSG:4326"}
    options = {
        "DISCIPLINE": "209",
        "IDS": "CENTER=161(US-OAR) SUBCENTER=0 MASTER_TABLE=255 LOCAL_TABLE=1 SIGNF_REF_TIME=3 "
        f"REF_TIME={at(frame):%Y-%m-%dT%H:%M:%SZ} PROD_STATUS=2 TYPE=7",
        "PDS_PDTN": "0",
        "PDS_TEMPLATE_NUMBERS": f"{parameter} 8 0 97 0 0 0 0 0 0 0 0 102 0 0 0 0 0 255 1 0 0 0 0",
    }
    with MemoryFile() as memory:
        with memory.open(**profile, transform=Affine(0.01, 0, -100, 0, -0.01, 40)) as data:
            data.write(values, 1)
        with memory.open() as data:
            rasterio.shutil.copy(data, path, driver="GRIB", **options)
    return path


def cf_dataset(
    frames: int = 3, minutes: float = 5, units: str = "mm/h", name: str = "rain_rate"
) -> xr.Dataset:
    """Rain on a projected grid in EPSG:3035, as many programs write it."""
    times = np.array([np.datetime64(at(i, minutes).replace(tzinfo=None), "ns") for i in range(frames)])
    values = np.stack([rain_codes((6, 8), 0, i, 4) for i in range(frames)]).astype(np.float32)
    values[:, 0] = np.nan
    return xr.Dataset(
        {
            name: (("time", "y", "x"), values, {"units": units, "grid_mapping": "crs"}),
            "crs": ((), 0, {"crs_wkt": rasterio.crs.CRS.from_epsg(3035).to_wkt()}),
        },
        coords={
            "time": times,
            "y": ("y", 3_000_000 - 1000.0 * np.arange(6), {"units": "m"}),
            "x": ("x", 4_000_000 + 1000.0 * np.arange(8), {"units": "m"}),
        },
    )


def write_cf(path: Path, frames: int = 3, **options: object) -> Path:
    """The same as NetCDF-4."""
    cf_dataset(frames, **options).to_netcdf(path, engine="h5netcdf")
    return path


CATALOG = (
    "id,file_name,file_index,img_type,time_utc,minute_offsets,llcrnrlat,llcrnrlon,urcrnrlat,urcrnrlon,proj,"
    "size_x,size_y,height_m,width_m,data_min,data_max,pct_missing\n"
    "S1,vil/2018/{name},1,vil,2018-06-01 12:00:00,{offsets},35.0,-100.0,38.5,-95.7,"
    "+proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0 +ellps=sphere,8,8,384000,384000,0,200,0\n"
)


def write_sevir(path: Path, frames: int = 5, side: int = 8, catalogue: bool = False) -> Path:
    """Two events, S0 and S1: uint8 (event, row, column, time), rows from south to north."""
    codes = np.zeros((2, side, side, frames), np.uint8)
    for frame in range(frames):
        codes[1, 1:3, frame : frame + 2, frame] = 133  # in the south, moving east
    codes[1, 0] = 255
    with h5py.File(path, "w") as file:
        file.create_dataset("vil", data=codes, chunks=(1, side, side, frames), compression="gzip")
        file["id"] = np.array([b"S0", b"S1"])
    if catalogue:
        offsets = ":".join(str(5 * (i - frames // 2)) for i in range(frames))
        (path.parent / "CATALOG.csv").write_text(CATALOG.format(name=path.name, offsets=offsets))
    return path


def write_classic(path: Path, version: int = 1, record: bool = True, frames: int = 3) -> Path:
    """`cf_dataset` as classic NetCDF (version 1, 2 or 5), by the format's description; time grows if `record`."""
    count = ">q" if version == 5 else ">i"
    begin_code = ">i" if version == 1 else ">q"

    def number(value: int, code: str = count) -> bytes:
        return struct.pack(code, value)

    def text(value: str) -> bytes:
        return number(len(value)) + value.encode() + b"\0" * (-len(value) % 4)

    def attributes(held: dict[str, object]) -> bytes:
        out = number(12, ">i") + number(len(held)) if held else number(0, ">i") + number(0)
        for name, value in held.items():
            if isinstance(value, str):
                out += text(name) + number(2, ">i") + text(value)
            else:
                out += text(name) + number(6, ">i") + number(1) + struct.pack(">d", value)
        return out

    data = cf_dataset(frames)
    minutes = ((data["time"].values - data["time"].values[0]) / np.timedelta64(1, "m")).astype(">i4")
    units = f"minutes since {START:%Y-%m-%d %H:%M:%S}"
    variables: list[tuple[str, list[int], dict[str, object], int, np.ndarray]] = [
        ("y", [1], {"units": "m"}, 6, data["y"].values.astype(">f8")),
        ("x", [2], {"units": "m"}, 6, data["x"].values.astype(">f8")),
        ("crs", [], dict(data["crs"].attrs), 4, np.array(0, ">i4")),
        ("time", [0], {"units": units}, 4, minutes),
        ("odd", [0], {}, 3, np.arange(frames).astype(">i2")),
        ("rain_rate", [0, 1, 2], dict(data["rain_rate"].attrs), 5, data["rain_rate"].values.astype(">f4")),
    ]
    head = b"CDF" + bytes([version]) + number(frames if record else 0)
    head += number(10, ">i") + number(3)
    for name, length in (("time", 0 if record else frames), ("y", 6), ("x", 8)):
        head += text(name) + number(length)
    head += attributes({"title": "by hand"}) + number(11, ">i") + number(len(variables))

    def layout(start: int) -> tuple[bytes, bytes]:
        entries, body, records = b"", b"", [b""] * frames
        sizes = [values.nbytes for _, dims, _, _, values in variables if not (record and dims[:1] == [0])]
        fixed = sum(size + -size % 4 for size in sizes)
        in_record = 0
        for name, dims, attrs, kind, values in variables:
            grows = record and dims[:1] == [0]
            raw = [values[i : i + 1].tobytes() for i in range(frames)] if grows else [values.tobytes()]
            raw = [part + b"\0" * (-len(part) % 4) for part in raw]
            begin = start + (fixed + in_record if grows else len(body))
            entries += text(name) + number(len(dims)) + b"".join(number(d) for d in dims)
            entries += (
                attributes(attrs) + number(kind, ">i") + number(len(raw[0])) + number(begin, begin_code)
            )
            if grows:
                in_record += len(raw[0])
                records = [held + part for held, part in zip(records, raw, strict=True)]
            else:
                body += raw[0]
        return entries, body + b"".join(records)

    entries, _ = layout(0)
    entries, body = layout(len(head) + len(entries))
    path.write_bytes(head + entries + body)
    return path
