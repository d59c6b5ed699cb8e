"""Regions of a field: a mask, a polygon in its own coordinates, or GeoJSON in degrees, as weights of its pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform_geom

from geoscope import grids
from geoscope.errors import ConfigError

Region = np.ndarray | xr.DataArray | Sequence[tuple[float, float]] | Mapping[str, Any] | None
FEWEST_PIXELS = 16
FINER = 4  # a polygon is drawn on pixels so many times finer, for shares of pixels at its edge


def region_weights(rain: xr.DataArray, region: Region) -> np.ndarray | None:
    """Weights (H, W) float32 from 0 to 1 of the pixels of ``rain`` (time, y, x), None where ``region`` is None.

    ``region``: a mask or weights (H, W); a polygon [(x, y), ...] in the coordinates of the field; or a GeoJSON
    geometry, feature or collection with one of them, polygons in degrees.

    Raises:
        ConfigError: of another shape, outside the field, without area, or smaller than 16 pixels; degrees for a field
            without a place.
    """
    if region is None:
        return None
    if isinstance(region, Mapping):
        weights = _drawn(rain, _in_field_crs(rain, _geometry(region)))
    elif isinstance(region, np.ndarray | xr.DataArray) and np.ndim(region) == 2 and np.shape(region)[-1] != 2:
        weights = np.asarray(region, dtype=np.float32)
        if weights.shape != rain.shape[-2:]:
            raise ConfigError(
                f"region has shape {weights.shape}, the field's frames {rain.shape[-2:]}: they must agree"
            )
        if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() <= 1):
            raise ConfigError("region as a mask must hold values from 0 to 1, without gaps")
    else:
        weights = _drawn(rain, _ring(region))
    if not weights.sum() > 0:
        raise ConfigError(
            f"region lies outside the field, or has no area: its x run from {float(rain['x'].min()):g} to "
            f"{float(rain['x'].max()):g} and its y from {float(rain['y'].min()):g} to {float(rain['y'].max()):g}"
        )
    if weights.sum() < FEWEST_PIXELS:
        raise ConfigError(
            f"region covers {weights.sum():.1f} pixels of the field, fewer than {FEWEST_PIXELS}: draw a larger one"
        )
    return weights


def _geometry(region: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = region.get("type")
    if kind == "FeatureCollection" and len(region.get("features") or ()) == 1:
        return _geometry(region["features"][0])
    if kind == "Feature" and isinstance(region.get("geometry"), Mapping):
        return _geometry(region["geometry"])
    if kind not in ("Polygon", "MultiPolygon"):
        raise ConfigError(
            f"region is GeoJSON of type {kind!r}: give a Polygon or MultiPolygon, or a feature or collection with one"
        )
    return region


def _in_field_crs(rain: xr.DataArray, geometry: Mapping[str, Any]) -> Mapping[str, Any]:
    crs = grids.crs_of(rain)
    if crs is None:
        raise ConfigError(
            "region is GeoJSON in degrees, but the field has no place on the Earth: give a polygon in the field's "
            "own x and y"
        )
    return transform_geom("EPSG:4326", crs.to_wkt(), geometry)


def _ring(points: Any) -> Mapping[str, Any]:
    try:
        ring = [(float(x), float(y)) for x, y in points]
    except (TypeError, ValueError):
        ring = []
    if len(ring) < 3 or not np.isfinite(ring).all():
        raise ConfigError(
            "region must be a mask (y, x), a polygon of three or more points (x, y), or GeoJSON, got "
            f"{str(points)[:60]!r}"
        )
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def _drawn(rain: xr.DataArray, geometry: Mapping[str, Any]) -> np.ndarray:
    """The share of each pixel that a geometry in the field's coordinates covers, (H, W)."""
    x, y = rain["x"].values.astype(float), rain["y"].values.astype(float)
    if x.ndim != 1 or y.ndim != 1:
        raise ConfigError(
            "a polygon needs a field with x and y along its axes: give the region as a mask (y, x)"
        )
    dx, dy = (x[-1] - x[0]) / (len(x) - 1), (y[-1] - y[0]) / (len(y) - 1)
    corner = Affine(dx / FINER, 0.0, x[0] - dx / 2, 0.0, dy / FINER, y[0] - dy / 2)
    shape = (FINER * len(y), FINER * len(x))
    try:
        fine = rasterize([(geometry, 1)], out_shape=shape, transform=corner, dtype="uint8")
    except ValueError as error:
        raise ConfigError(f"region cannot be drawn ({error}): give a polygon without crossings") from None
    parts = np.asarray(fine).reshape(len(y), FINER, len(x), FINER)
    return parts.mean(axis=(1, 3)).astype(np.float32)
