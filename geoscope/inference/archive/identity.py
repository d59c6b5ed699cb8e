"""What makes a run the run that it is, so that its store is not continued by another."""

import hashlib
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import geoscope
from geoscope.errors import ConfigError
from geoscope.inference.archive.plan import ArchiveSettings, Plan, say
from geoscope.zoo.cards import ModelCard

# What has to be the same, in the order in which a difference is told. The number of leads comes before their
# consequences, and so on.
_SAME = (
    "model", "weights_sha256", "variable", "units", "interval_minutes", "every", "lead_steps", "history",
    "grid", "grid_sha256", "issue_times", "issue_times_sha256", "device", "threads", "geoscope",
)  # fmt: skip


def run_card(
    rain: xr.DataArray, variable: str, plan: Plan, settings: ArchiveSettings, model: ModelCard
) -> dict[str, Any]:
    """The card of a run: what it is made of, and which versions made it. Values are what JSON keeps."""
    import torch

    from geoscope.inference.loading import choose_device

    issue_times = plan.issue_times
    return {
        "model": model.name,
        "weights_sha256": model.weights.sha256 if model.weights is not None else None,
        "variable": variable,
        "units": str(rain.attrs.get("units", "")),
        "interval_minutes": round(plan.step / 60, 4),
        "every": settings.every,
        "lead_steps": plan.leads,
        "history": plan.history,
        "grid": f"{rain.shape[1]} x {rain.shape[2]}",
        "grid_sha256": grid_hash(rain),
        "issue_times": f"{len(issue_times)} from {say(issue_times[0])} to {say(issue_times[-1])}",
        "issue_times_sha256": _hash(issue_times.astype("datetime64[s]").astype(np.int64)),
        "device": choose_device(settings.device),
        "threads": settings.threads,
        "seed": 0,
        "source": str(rain.attrs.get("source", "")),
        "frames": f"{len(plan.times)} from {say(plan.times[0])} to {say(plan.times[-1])}",
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "geoscope": geoscope.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def grid_hash(rain: xr.DataArray) -> str:
    """A hash of where the pixels are."""
    names = [name for name in ("y", "x", "lat", "lon") if name in rain.coords]
    place = rain.coords["spatial_ref"].attrs.get("crs_wkt", "") if "spatial_ref" in rain.coords else ""
    return _hash(
        *(np.asarray(rain[name].values, np.float64) for name in names), text=f"{rain.shape[1:]}{place}"
    )


def _hash(*arrays: np.ndarray, text: str = "") -> str:
    found = hashlib.sha256(text.encode())
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def check_same_run(store: Path, held: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse to go on in a store that belongs to another run.

    Raises:
        ConfigError: names what differs.
    """
    for key in _SAME:
        if held.get(key) == asked[key]:
            continue
        if key.endswith("_sha256"):
            what = {"weights": "its weights are not those of today", "grid": "its pixels lie elsewhere"}
            told = what.get(key.removesuffix("_sha256"), "its issue times are others")
        else:
            told = f"its {key.replace('_', ' ')} is {held.get(key)}, this run's is {asked[key]}"
        raise ConfigError(
            f"{store} belongs to another run: {told}; choose another --out, or start anew with --overwrite"
        )
