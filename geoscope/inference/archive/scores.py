"""The scores of an archive: those of its issue times added up, in files beside the store."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geoscope.data.hdf5 import LOCK
from geoscope.data.whole_files import whole_file
from geoscope.inference.archive.plan import say
from geoscope.metrics import bootstrap
from geoscope.metrics.accumulate import Verification

LEVEL = 0.95
DRAWS = 1000


def add_up(issue_times: np.ndarray, each: Sequence[Verification], card: dict[str, Any]) -> xr.Dataset:
    """The scores of all issue times together, in the variables of `geoscope.verify`.

    Beside them stand `issue_csi_mean` (issue_time), and in the attributes intervals of `csi_mean` and `mae` from
    drawing issue times (bootstrap, 95 %; NaN with one issue time). Neighbouring issue times see the same storms, so
    the true intervals are rather wider.
    """
    together = sum(each[1:], each[0])
    scores = together.to_dataset()
    by_issue = np.array([one.csi_mean() for one in each])
    scores = scores.assign_coords(issue_time=("issue_time", issue_times)).assign(
        issue_csi_mean=("issue_time", by_issue, {"long_name": "CSI, mean over thresholds, of one issue time"})
    )
    found = bootstrap.intervals(each, ("csi_mean", "mae"), draws=DRAWS, level=LEVEL, seed=0)
    ends = {
        f"{name}_{end}": float(value)
        for name in found
        for end, value in zip(("low", "high"), found[name], strict=True)
    }
    return scores.assign_attrs(
        csi_mean=together.csi_mean(),
        **ends,
        interval=f"{LEVEL:.0%} bootstrap over issue times, {DRAWS} draws, seed 0",
        issue_times=len(each),
        model=card["model"],
        units=card["units"],
        run_card=json.dumps(card, sort_keys=True),
    )


def score_files(store: Path) -> tuple[Path, Path]:
    """The NetCDF and the JSON file with the scores of a store."""
    return store.with_suffix(".scores.nc"), store.with_suffix(".scores.json")


def write_scores(store: Path, scores: xr.Dataset, skipped: dict[np.datetime64, str]) -> tuple[Path, Path]:
    """Write the scores beside the store, as NetCDF and as JSON; older ones are replaced.

    Raises:
        DataError: the system refused to write.
    """
    as_netcdf, as_json = score_files(store)
    with whole_file(as_netcdf, overwrite=True) as part, LOCK:
        plain = scores.copy()
        for name in ("lead_time", "issue_time"):
            plain[name].encoding = {"dtype": "int64"} | (
                {"units": "seconds since 1970-01-01"} if name == "issue_time" else {"units": "seconds"}
            )
        plain.to_netcdf(part, engine="h5netcdf", format="NETCDF4")
    with whole_file(as_json, overwrite=True) as part:
        part.write_text(json.dumps(as_plain(scores, skipped), indent=1) + "\n", encoding="utf-8")
    return as_netcdf, as_json


def as_plain(scores: xr.Dataset, skipped: dict[np.datetime64, str]) -> dict[str, Any]:
    """The scores as plain lists and numbers for JSON; lead times in minutes, undefined scores null."""
    leads = scores["lead_time"].values.astype("timedelta64[s]").astype(float) / 60
    return {
        "lead_minutes": leads.tolist(),
        "threshold_mm_h": scores["threshold"].values.tolist(),
        "issue_times": [say(time) for time in scores["issue_time"].values],
        "scores": {
            str(name): _finite(values.values.tolist())
            for name, values in scores.data_vars.items()
            if values.dtype.kind in "iuf"
        },
        "pooled": {
            key: _finite(value) for key, value in scores.attrs.items() if isinstance(value, int | float)
        },
        "skipped": {say(time): reason for time, reason in skipped.items()},
        "about": {key: value for key, value in scores.attrs.items() if isinstance(value, str)},
    }


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
