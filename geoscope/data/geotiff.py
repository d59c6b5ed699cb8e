"""A sequence as one Cloud Optimised GeoTIFF: a band a frame, its description the valid time.

A field that gives only 2-D latitude and longitude has no affine transform, which a GeoTIFF must have. It is
brought onto a regular grid in EPSG:4326 of about its own pixel size, nearest pixel, and the tag `resampling`
says so.
"""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from geoscope.data.writers import Progress, plain_attrs
from geoscope.errors import DataError
from geoscope.grids import crs_of, great_circle_km, lonlat
from geoscope.reprojection import MercatorTable, to_mercator

_LONGEST_TAG = 30_000  # characters


def write_geotiff(field: xr.DataArray, path: Path, report: Progress) -> None:
    """Write (time, y, x) to `path` as float32 with NaN for no data, one band a frame, frame by frame.

    Tags of the file: the field's attributes (units, credit, model, run_card ...). Each band's description is
    its valid time, with tags valid_time and, for a forecast, lead_minutes.

    Raises:
        DataError: the field has no place on the Earth, or x and y are not evenly spaced.
    """
    index, crs, transform, note = _raster(field)
    height, width = index.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": field.sizes["time"],
        "height": height,
        "width": width,
        "crs": crs,
        "transform": transform,
        "nodata": float("nan"),
        "interleave": "band",
        "bigtiff": "if_safer",
    }
    times = field["time"].values.astype("datetime64[s]")
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            for band, frame in enumerate(field, start=1):
                report("writing", 0.9 * (band - 1) / len(times))
                padded = np.append(frame.values.astype(np.float32).ravel(), np.float32("nan"))
                raster.write(padded[index], band)
                raster.set_band_description(band, f"{times[band - 1]}Z")
                raster.update_tags(band, **_band_tags(field, band - 1))
            raster.update_tags(**_tags(field, note))
        report("writing", 0.9)
        with memory.open() as source:
            rasterio.shutil.copy(
                source, path, driver="COG", compress="DEFLATE", predictor="YES", overview_resampling="AVERAGE"
            )


def _raster(field: xr.DataArray) -> tuple[np.ndarray, CRS, Affine, str]:
    """For each raster pixel the flat index of the field's pixel (H*W: none), CRS, transform and a note."""
    crs = crs_of(field)
    height, width = field.shape[1:]
    whole = np.arange(height * width).reshape(height, width)
    if crs is not None and "x" in field.coords and "y" in field.coords:
        x, y = (_even(field[name].values, name) for name in ("x", "y"))
        step_x, step_y = (x[-1] - x[0]) / (len(x) - 1), (y[-1] - y[0]) / (len(y) - 1)
        transform = Affine(step_x, 0, x[0] - step_x / 2, 0, step_y, y[0] - step_y / 2)
        return whole, CRS.from_wkt(crs.to_wkt()), transform, ""
    lon, lat = lonlat(field)  # says what to do when there is no place
    table = MercatorTable.for_field(field[0])
    rows, cols = np.indices((height, width))
    centre = table.position_of(rows, cols)
    lon = np.rad2deg(centre[0] / 6378137.0)  # unwrapped, also across the antimeridian
    step = _pixel_degrees(lon, lat)
    west, north = np.nanmin(lon) - step / 2, np.nanmax(lat) + step / 2
    shape = (int(np.ceil((north - np.nanmin(lat)) / step)), int(np.ceil((np.nanmax(lon) - west) / step)))
    px, py = np.meshgrid(
        west + (np.arange(shape[1]) + 0.5) * step, north - (np.arange(shape[0]) + 0.5) * step
    )
    row, col = table.pixels_at(*to_mercator(px, py))
    index = np.where(row < 0, height * width, row * width + col)
    note = f"nearest pixel of a curvilinear grid, onto EPSG:4326 at {step:g} degrees"
    return index, CRS.from_epsg(4326), Affine(step, 0, west, 0, -step, north), note


def _even(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    step = np.diff(values)
    if len(values) < 2 or np.abs(step - step.mean()).max() > 0.01 * abs(step.mean()):
        raise DataError(
            f"coordinate {name} is not evenly spaced over at least 2 pixels, which a GeoTIFF needs: "
            "write .nc or .zarr instead, or put the field on a regular grid"
        )
    return values


def _pixel_degrees(lon: np.ndarray, lat: np.ndarray) -> float:
    """Degrees of latitude across a pixel in the middle of the grid, to two digits."""
    row, col = lon.shape[0] // 2, lon.shape[1] // 2
    down = great_circle_km(lon[row - 1, col], lat[row - 1, col], lon[row, col], lat[row, col])
    across = great_circle_km(lon[row, col - 1], lat[row, col - 1], lon[row, col], lat[row, col])
    return float(f"{min(float(down), float(across)) / 111.195:.2g}")


def _band_tags(field: xr.DataArray, index: int) -> dict[str, str]:
    tags = {"valid_time": f"{field['time'].values[index].astype('datetime64[s]')}Z"}
    if "lead_time" in field.coords:
        lead = field["lead_time"].values[index] / np.timedelta64(1, "m")
        tags["lead_minutes"] = f"{lead:g}"
    return tags


def _tags(field: xr.DataArray, note: str) -> dict[str, str]:
    tags = {key: str(value)[:_LONGEST_TAG] for key, value in plain_attrs(field.attrs).items()}
    tags["variable"] = str(field.name or "field")
    if note:
        tags["resampling"] = note
    if "forecast_reference_time" in field.coords:
        issued = field["forecast_reference_time"].values.astype("datetime64[s]")
        tags["forecast_reference_time"] = f"{issued}Z"
    return tags
