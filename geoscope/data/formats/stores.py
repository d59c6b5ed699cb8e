"""The three shapes in which CF data lies on disk - HDF5, classic NetCDF, Zarr - seen as named variables."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from geoscope.data import hdf5
from geoscope.data.formats import netcdf3
from geoscope.data.formats.faults import check_bytes, reading
from geoscope.errors import MissingExtraError

_HDF5_DIMENSION_ATTRS = frozenset(
    ("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates")
)


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A variable before it is decoded: `get(index)` gives raw numbers; an index has one entry an axis."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    attrs: Mapping[str, Any]
    get: Callable[[tuple[int | slice, ...]], np.ndarray]

    def load(self, path: Path, max_bytes: int) -> np.ndarray:
        """All raw values, once their size is known to be within `max_bytes`."""
        need = float(np.prod([float(n) for n in self.shape])) * self.dtype.itemsize
        check_bytes(path, need, max_bytes, f"a variable {self.name!r}")
        return np.asarray(self.get((slice(None),) * len(self.shape)))


@dataclass(frozen=True, kw_only=True)
class Store:
    """The variables of an open file and its global attributes."""

    variables: Mapping[str, Variable]
    attrs: Mapping[str, Any]


Opener = Callable[[Path, int], AbstractContextManager[Store]]


@contextmanager
def open_hdf5(path: Path, max_bytes: int):
    """A NetCDF-4 file as a `Store`; only the variables of the root group are seen."""
    with hdf5.opened(path, "a NetCDF file") as file:
        variables = {}
        for name, item in file.items():
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf":
                label = str(hdf5.attribute(item, "NAME", ""))
                if not label.startswith("This is a netCDF dimension but not a netCDF variable"):
                    variables[name] = _hdf5_variable(path, name, item, max_bytes)
            elif isinstance(item, h5py.Dataset) and item.shape == ():  # a text that only carries attributes
                variables[name] = _hdf5_variable(path, name, item, max_bytes)
        yield Store(variables=variables, attrs={name: hdf5.attribute(file, name) for name in file.attrs})


def _hdf5_variable(path: Path, name: str, item: h5py.Dataset, max_bytes: int) -> Variable:
    dims = []
    for axis, dimension in enumerate(item.dims):
        if len(dimension):
            dims.append(str(dimension[0].name).rsplit("/", 1)[-1])
        else:
            is_scale = item.ndim == 1 and hdf5.attribute(item, "CLASS") == "DIMENSION_SCALE"
            dims.append(name if is_scale else f"{name}_dim_{axis}")

    def get(index: tuple[int | slice, ...]) -> np.ndarray:
        if item.chunks:
            chunk = float(np.prod([float(n) for n in item.chunks])) * item.dtype.itemsize
            check_bytes(path, chunk, max_bytes, f"a chunk of {name!r}")
        hdf5.refuse_bomb(item, path, max_bytes)
        return np.asarray(item[index])

    names = [key for key in item.attrs if key not in _HDF5_DIMENSION_ATTRS]
    attrs = {key: hdf5.attribute(item, key) for key in names}
    return Variable(name=name, dims=tuple(dims), shape=item.shape, dtype=item.dtype, attrs=attrs, get=get)


@contextmanager
def open_zarr(path: Path, max_bytes: int):
    """A Zarr store (version 2 or 3, a folder) as a `Store`; arrays that are not numbers are left out.

    Raises:
        MissingExtraError: the package zarr is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError(
            f"{path} is a Zarr store: install the extra with `pip install geoscope[radar]`"
        ) from error
    with reading(path, "a Zarr store"):
        group = zarr.open_group(str(path), mode="r")
        variables = {}
        for name in sorted(child.name for child in path.iterdir() if child.is_dir()):
            array = group[name]
            if isinstance(array, zarr.Array) and array.dtype.kind in "iuf":
                variables[name] = _zarr_variable(path, name, array, max_bytes)
        yield Store(variables=variables, attrs=dict(group.attrs))


def _zarr_variable(path: Path, name: str, array: Any, max_bytes: int) -> Variable:
    attrs = dict(array.attrs)
    dims = getattr(array.metadata, "dimension_names", None) or attrs.pop("_ARRAY_DIMENSIONS", None)
    if dims is None or len(dims) != array.ndim:
        dims = [f"{name}_dim_{axis}" for axis in range(array.ndim)]
    fill = getattr(array.metadata, "fill_value", None)
    if getattr(array.metadata, "zarr_format", 3) == 2 and fill is not None and "_FillValue" not in attrs:
        attrs["_FillValue"] = fill

    def get(index: tuple[int | slice, ...]) -> np.ndarray:
        chunk = float(np.prod([float(n) for n in array.chunks] or [1.0])) * array.dtype.itemsize
        check_bytes(path, chunk, max_bytes, f"a chunk of {name!r}")
        return np.asarray(array[index])

    return Variable(
        name=name, dims=tuple(map(str, dims)), shape=array.shape, dtype=array.dtype, attrs=attrs, get=get
    )


@contextmanager
def open_classic(path: Path, max_bytes: int):
    """A classic NetCDF file (versions 1, 2 and 5) as a `Store`."""
    with reading(path, "a classic NetCDF file"), path.open("rb") as file:
        size = path.stat().st_size
        header = netcdf3.header(file, path)
        variables = {
            name: Variable(
                name=name,
                dims=held.dims,
                shape=held.shape,
                dtype=held.dtype,
                attrs=held.attrs,
                get=partial(netcdf3.values, file, path, held, size),
            )
            for name, held in header.variables.items()
        }
        yield Store(variables=variables, attrs=header.attrs)
