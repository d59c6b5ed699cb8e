"""Make florence-2018.nc, the shipped rain of Hurricane Florence's landfall.

    python -m geoscope.data.shipped.make_florence test_stageiv_xyt.nc florence-2018.nc

The source is the test file `test_stageiv_xyt.nc` of the R package stars (Debian: r-cran-stars): a cut of the
NOAA Stage IV analysis as USGS's THREDDS server gave it, 23 hourly accumulations on part of the national 4 km
grid. Its latitudes and longitudes were computed on a sphere of 6371.229 km from the grid's first point and a
step of 4763 m, so the grid can be recovered exactly: the cut is columns 950-1036 and rows 385-502.
`recover_grid` does so, and refuses to go on where the file's own latitudes and longitudes disagree.
"""

import sys
from pathlib import Path

import numpy as np
import pyproj
import xarray as xr

from geoscope.errors import DataError

STEP_M = 4763.0  # as coded in Stage IV's GRIB headers; the HRAP grid itself says 4762.5
FIRST_LON, FIRST_LAT = -119.023, 23.117  # the national grid's first (south-west) point, NCEP grid 240
CRS = pyproj.CRS.from_proj4("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=-105 +R=6371229 +units=m +no_defs")
TOLERANCE_PIXELS = 0.01
SOURCE_VARIABLE = "Total_precipitation_surface_1_Hour_Accumulation"
CREDIT = "NOAA Stage IV, public domain"


def recover_grid(lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The projected `x` (W,) and `y` (H,) in metres of a cut of the Stage IV grid.

    ``lat`` and ``lon`` are (H, W) in degrees; the result is on the grid of `CRS`.

    Raises:
        DataError: the pixels do not lie on the Stage IV grid to a hundredth of a pixel.
    """
    project = pyproj.Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    x0, y0 = project.transform(FIRST_LON, FIRST_LAT)
    x, y = project.transform(lon.astype(np.float64), lat.astype(np.float64))
    columns, rows = (x - x0) / STEP_M, (y - y0) / STEP_M
    column, row = np.rint(columns.mean(axis=0)), np.rint(rows.mean(axis=1))
    worst = max(float(np.abs(columns - column).max()), float(np.abs(rows - row[:, None]).max()))
    if worst > TOLERANCE_PIXELS:
        raise DataError(
            f"the latitudes and longitudes lie {worst:.3g} pixels off the Stage IV grid, expected less than "
            f"{TOLERANCE_PIXELS}; this script only takes cuts of that grid"
        )
    return x0 + STEP_M * column, y0 + STEP_M * row


def make_florence(source: Path, target: Path) -> None:
    """Re-encode ``source`` as ``target``: CF NetCDF, mm/h packed to 0.01 mm/h, row 0 in the north.

    An accumulation over one hour in kg m-2 is the hour's mean rain rate in mm/h, number for number.
    """
    with xr.open_dataset(source) as data:  # NetCDF 3: needs scipy or netCDF4
        rain = data[SOURCE_VARIABLE].load()
    x, y = recover_grid(rain["lat"].values, rain["lon"].values)
    north_up = slice(None, None, -1) if y[0] < y[-1] else slice(None)
    field = xr.DataArray(
        rain.values[:, north_up].astype(np.float32),
        dims=("time", "y", "x"),
        name="rain_rate",
        attrs={
            "units": "mm/h",
            "long_name": "rain rate, mean over the hour before",
            "standard_name": "rainfall_rate",
            "cell_methods": "time: mean (interval: 1 hour)",
            "grid_mapping": "spatial_ref",
        },
        coords={
            "time": (
                "time",
                rain["time"].values,
                {"standard_name": "time", "long_name": "end of the hour, UTC"},
            ),
            "y": ("y", y[north_up], {"standard_name": "projection_y_coordinate", "units": "m"}),
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": "m"}),
            "lat": (
                ("y", "x"),
                rain["lat"].values[north_up],
                {"standard_name": "latitude", "units": "degrees_north"},
            ),
            "lon": (
                ("y", "x"),
                rain["lon"].values[north_up],
                {"standard_name": "longitude", "units": "degrees_east"},
            ),
        },
    )
    dataset = field.to_dataset().assign_coords(
        spatial_ref=((), 0, CRS.to_cf() | {"spatial_ref": CRS.to_wkt()})
    )
    dataset.attrs = {
        "Conventions": "CF-1.8",
        "title": "Hurricane Florence's landfall, 13-14 September 2018",
        "institution": "NOAA National Centers for Environmental Prediction",
        "source": "NOAA NCEP Stage IV, hourly radar and gauge precipitation analysis",
        "credit": CREDIT,
        "licence": "public domain",
        "accumulation_minutes": 60,
        "references": "Lin and Mitchell 2005, The NCEP Stage II/IV hourly precipitation analyses",
        "history": "cut by USGS and R package stars; re-encoded by geoscope.data.shipped.make_florence "
        "(mm in one hour to mm/h, rows turned north to south, projected grid recovered)",
    }
    squeeze = {"zlib": True, "complevel": 9, "shuffle": True}
    packed = {"dtype": "uint16", "scale_factor": np.float32(0.01), "_FillValue": np.uint16(65535)}
    dataset.to_netcdf(
        target,
        engine="h5netcdf",
        encoding={
            "rain_rate": packed | squeeze | {"chunksizes": field.shape},
            "lat": squeeze | {"_FillValue": None},
            "lon": squeeze | {"_FillValue": None},
            "time": {"units": "hours since 2018-09-13 00:00:00", "dtype": "int32", "calendar": "standard"},
        },
    )


if __name__ == "__main__":
    make_florence(Path(sys.argv[1]), Path(sys.argv[2]))
