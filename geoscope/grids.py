"""Where the pixels are: interval, pixel size, longitude and latitude of a field.

A field is an `xarray.DataArray` with dimensions (time, y, x) or (y, x), row 0 in the north. Its place is known in
one of three ways, tried in this order: a CRS (`rain.rio.crs`) with 1-D `x` and `y`; 2-D `lat` and `lon`; or only 1-D
`x` and `y`, taken as metres, which is enough for a forecast and not for a map.
"""

import numpy as np
import pyproj
import xarray as xr

from geoscope.errors import DataError

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG


def crs_of(field: xr.DataArray) -> pyproj.CRS | None:
    """The field's coordinate reference system, or None when it carries none."""
    reference = field.coords.get("spatial_ref")
    if reference is None:
        return None
    text = reference.attrs.get("crs_wkt") or reference.attrs.get("spatial_ref")
    return pyproj.CRS.from_wkt(text) if text else None


def interval_minutes(field: xr.DataArray) -> float:
    """Minutes between frames of (time, y, x).

    Raises:
        DataError: fewer than two frames, or frames that are not evenly spaced.
    """
    times = field["time"].values.astype("datetime64[s]")
    if len(times) < 2:
        raise DataError("one frame has no interval: give at least two frames of the same storm")
    steps = np.diff(times).astype("timedelta64[s]").astype(np.float64)
    step = float(np.median(steps))
    if step <= 0 or np.abs(steps - step).max() > max(1.0, 0.01 * step):
        worst = int(np.abs(steps - step).argmax())
        raise DataError(
            f"frames are not evenly spaced: {steps[worst] / 60:g} minutes between {times[worst]}Z and "
            f"{times[worst + 1]}Z, {step / 60:g} elsewhere; open the files with fill_gaps= or cut the sequence"
        )
    return step / 60.0


def great_circle_km(lon0: np.ndarray, lat0: np.ndarray, lon1: np.ndarray, lat1: np.ndarray) -> np.ndarray:
    """Distance in km on a sphere between points given in degrees (haversine)."""
    lon0, lat0, lon1, lat1 = (np.deg2rad(np.asarray(v, dtype=np.float64)) for v in (lon0, lat0, lon1, lat1))
    half = np.sin((lat1 - lat0) / 2) ** 2 + np.cos(lat0) * np.cos(lat1) * np.sin((lon1 - lon0) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))


def pixel_size_km(field: xr.DataArray) -> tuple[float, float]:
    """Height and width of a pixel in km on the ground, at the middle of the field.

    Where the place is known this is a distance on the Earth, so the scale of a projection does not count; without
    one, `x` and `y` are taken as metres.

    Raises:
        DataError: the field carries neither a CRS, nor lat/lon, nor x and y.
    """
    if has_place(field):
        lon, lat = lonlat(_middle(field))
        down = great_circle_km(lon[0, 0], lat[0, 0], lon[1, 0], lat[1, 0])
        across = great_circle_km(lon[0, 0], lat[0, 0], lon[0, 1], lat[0, 1])
        return float(down), float(across)
    if "x" not in field.coords or "y" not in field.coords:
        raise DataError(
            "the field has no pixel size: give it x and y in metres, a CRS (field.rio.write_crs), or lat and lon"
        )
    return _spacing(field["y"].values) / 1000, _spacing(field["x"].values) / 1000


def _middle(field: xr.DataArray) -> xr.DataArray:
    """The two by two pixels in the middle."""
    row, column = max(field.shape[-2] // 2 - 1, 0), max(field.shape[-1] // 2 - 1, 0)
    middle = field.isel({field.dims[-2]: slice(row, row + 2), field.dims[-1]: slice(column, column + 2)})
    if middle.shape[-2:] != (2, 2):
        raise DataError(
            f"a field of {field.shape[-2]} x {field.shape[-1]} pixels is too small: give at least 2 x 2"
        )
    return middle


def _spacing(values: np.ndarray) -> float:
    return float(np.abs(np.diff(values.astype(np.float64))).mean()) if len(values) > 1 else float("nan")


def lonlat(field: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude (degrees, WGS 84) of every pixel centre, each (H, W).

    Raises:
        DataError: the field does not say where on the Earth it is.
    """
    crs = crs_of(field)
    if crs is not None and "x" in field.coords and "y" in field.coords:
        x, y = np.meshgrid(field["x"].values.astype(np.float64), field["y"].values.astype(np.float64))
        if crs.is_geographic:
            return x, y
        lon, lat = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
        return np.asarray(lon), np.asarray(lat)
    if "lat" in field.coords and "lon" in field.coords:
        lat, lon = field["lat"].values.astype(np.float64), field["lon"].values.astype(np.float64)
        if lat.ndim == 1:
            lon, lat = np.meshgrid(lon, lat)
        return lon, lat
    raise DataError(
        "the field does not say where on the Earth it is: give it a CRS (field.rio.write_crs) with x and y, "
        "or coordinates lat and lon"
    )


def has_place(field: xr.DataArray) -> bool:
    """Whether the field can be drawn on a map."""
    return crs_of(field) is not None or ("lat" in field.coords and "lon" in field.coords)
