"""Members and probabilities through the nowcast door, with models small enough to work by hand."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from geoscope.errors import ConfigError
from geoscope.inference import loading, uncertainty
from geoscope.inference.uncertainty import read_request, share_of_members
from geoscope.metrics.verification import verify
from geoscope.models.baselines.field_mean import mean_of_fields
from geoscope.zoo.cards import card, list_models


class Plain:
    """Repeats the last frame."""

    min_frames = 1
    card = dataclasses.replace(card("persistence"), name="plain")

    def forecast(self, past, *, interval_minutes, pixel_km, lead_steps, progress):
        progress("plain", 0.5)
        return np.repeat(past[-1:], lead_steps, axis=0)


class Ensemble(Plain):
    """Member m, drawn from a seed, is the last frame times m + 1; the first pixel of member 0 is unknown."""

    card = dataclasses.replace(card("persistence"), name="ensemble")

    def forecast_ensemble(self, past, *, interval_minutes, pixel_km, lead_steps, members, seed, progress):
        progress("ensemble", 0.5)
        self.seed = seed
        factors = np.arange(1, members + 1, dtype=np.float32)[:, None, None, None]
        made = factors * np.repeat(past[-1:], lead_steps, axis=0)[None]
        made[0, :, 0, 0] = np.nan
        return made


class Drawn(Ensemble):
    """An ensemble whose single field is the mean of two members."""

    default_members = 2


class Calibrated(Plain):
    """Has probabilities of its own: 1.25 (to be cut to 1) where the threshold is below 1 mm/h, else 0.25."""

    def forecast_probabilities(
        self, past, *, interval_minutes, pixel_km, lead_steps, thresholds_mm_h, progress
    ):
        rain = self.forecast(
            past,
            interval_minutes=interval_minutes,
            pixel_km=pixel_km,
            lead_steps=lead_steps,
            progress=progress,
        )
        chances = [np.full(rain.shape, 1.25 if level < 1 else 0.25) for level in thresholds_mm_h]
        return rain, np.stack(chances)


class Both(Calibrated, Ensemble):
    """Has members and probabilities."""


def rain(value: float = 2.0) -> xr.DataArray:
    time = np.datetime64("2021-06-01T12:00", "ns") + np.arange(3) * np.timedelta64(5, "m")
    coords = {"time": time, "y": -1000.0 * np.arange(4), "x": 1000.0 * np.arange(5)}
    return xr.DataArray(
        np.full((3, 4, 5), value, np.float32), dims=("time", "y", "x"), coords=coords, name="rain_rate",
        attrs={"units": "mm/h"},
    )  # fmt: skip


def run_card(result) -> dict:
    return json.loads(result.attrs["run_card"])


def test_members_have_a_dimension_of_their_own_and_the_run_card_says_how_they_were_drawn():
    model = Ensemble()
    forecast = gs.nowcast(rain(), model, lead_steps=2, members=3, seed=9)
    assert forecast.dims == ("member", "time", "y", "x")
    assert list(forecast["member"].values) == [0, 1, 2]
    assert forecast.sel(member=2).values[0, 1, 1] == 6.0
    assert (run_card(forecast)["members"], run_card(forecast)["seed"], model.seed) == (3, 9, 9)
    assert forecast["lead_time"].dims == ("time",)


def test_a_model_without_random_numbers_has_no_seed_on_its_run_card():
    forecast = gs.nowcast(rain(), Plain(), lead_steps=1, seed=9)
    assert (run_card(forecast)["members"], run_card(forecast)["seed"]) == (None, None)


def test_an_ensemble_model_gives_the_mean_of_the_members_that_know():
    forecast = gs.nowcast(rain(), Drawn(), lead_steps=1, seed=4)
    assert forecast.dims == ("time", "y", "x")
    assert forecast.values[0, 1, 1] == 3.0
    assert forecast.values[0, 0, 0] == 4.0  # member 0 does not know it
    assert (run_card(forecast)["members"], run_card(forecast)["seed"]) == (2, 4)


def test_an_ensemble_that_also_has_a_field_of_its_own_gives_that():
    forecast = gs.nowcast(rain(), Ensemble(), lead_steps=1)
    assert forecast.values[0, 1, 1] == 2.0
    assert run_card(forecast)["members"] is None


def test_probabilities_are_the_share_of_the_members():
    both = gs.nowcast(rain(), Ensemble(), lead_steps=1, members=4, probabilities=[1, 5])
    assert both["rain_rate"].dims == ("member", "time", "y", "x")
    chance = both["exceedance_probability"]
    assert chance.dims == ("threshold", "time", "y", "x")
    assert chance.dtype == np.float32
    assert chance.sel(threshold=1.0).values[0, 1, 1] == 1.0
    assert chance.sel(threshold=5.0).values[0, 1, 1] == 0.5  # members of 6 and 8 mm/h out of 2, 4, 6, 8
    assert chance.sel(threshold=5.0).values[0, 0, 0] == pytest.approx(2 / 3)  # one does not know
    assert chance["threshold"].attrs["units"] == "mm/h"
    assert "member" not in chance.coords


def test_probabilities_of_an_ensemble_mean_come_with_the_mean():
    both = gs.nowcast(rain(), Drawn(), lead_steps=1, probabilities=[3])
    assert both["rain_rate"].dims == ("time", "y", "x")
    assert both["exceedance_probability"].values[0, 0, 1, 1] == 0.5


def test_a_models_own_probabilities_go_first_and_stay_within_0_and_1():
    both = gs.nowcast(rain(), Both(), lead_steps=1, probabilities=True)
    assert list(both["exceedance_probability"]["threshold"].values) == [0.1, 0.5, 1, 2, 5, 10, 20]
    assert list(both["exceedance_probability"].values[:, 0, 1, 1]) == [1, 1, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert both.attrs["model"] == both["rain_rate"].attrs["model"]
    assert run_card(both) == run_card(both["rain_rate"]) == run_card(both["exceedance_probability"])
    asked = gs.nowcast(rain(), Both(), lead_steps=1, probabilities=True, members=2)
    assert asked["exceedance_probability"].values[-1].max() == 0.0  # of the members that were asked for


def test_the_dataset_can_be_verified():
    both = gs.nowcast(
        rain(), Calibrated(), issue_time="2021-06-01T12:05", lead_steps=1, probabilities=[0.5, 1]
    )
    scores = verify(both, rain(), thresholds=(0.5, 1.0))
    assert float(scores["csi_pooled"].values[0]) == 1.0
    assert "brier" in scores


def test_members_and_shares_by_hand():
    members = np.array([[[[1.0, np.nan, np.nan]]], [[[4.0, 6.0, np.nan]]]], np.float32)
    np.testing.assert_array_equal(mean_of_fields(members), [[[2.5, 6.0, np.nan]]])
    np.testing.assert_array_equal(
        share_of_members(members, (0.7, 4.0)), [[[[1, 1, np.nan]]], [[[0.5, 1, np.nan]]]]
    )
    exact = np.full((1, 1, 1, 1), 0.7, np.float32)
    assert share_of_members(exact, (0.7,)) == 1.0  # 0.7 in float32 lies below 0.7 in float64


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Plain, {"members": 2}, "plain gives no members: use an ensemble such as model='pysteps-steps'"),
        (Plain, {"probabilities": True}, "plain gives no probabilities"),
        (
            Ensemble,
            {"probabilities": True},
            "ensemble gives no probabilities without members: ask for members",
        ),
        (Ensemble, {"members": 0}, "members=0 must be a whole number, 1 or more"),
        (Ensemble, {"members": 2.5}, "members=2.5 must be"),
        (Ensemble, {"members": "many"}, "members='many' must be"),
        (Ensemble, {"members": True}, "members=True must be"),
        (Ensemble, {"members": 10**9}, r"do not fit in 8 GB: ask for at most 100000000"),
        (
            Plain,
            {"lead_steps": 10**9},
            r"lead_steps=1000000000 of . x . pixels do not fit in 8 GB: ask for at most",
        ),
        (Ensemble, {"members": 2, "seed": -1}, "seed=-1 must be a whole number from 0 to 4294967295"),
        (Ensemble, {"members": 2, "seed": 2**32}, "seed=4294967296 must be"),
        (Ensemble, {"members": 2, "seed": 0.5}, "seed=0.5 must be"),
        (Calibrated, {"probabilities": []}, r"probabilities=\[\] must be True or rising rain rates above 0"),
        (Calibrated, {"probabilities": [5, 1]}, "must be True or rising"),
        (Calibrated, {"probabilities": [0, 1]}, "must be True or rising"),
        (Calibrated, {"probabilities": [1, np.nan]}, "must be True or rising"),
        (Calibrated, {"probabilities": [1, np.inf]}, "must be True or rising"),
        (Calibrated, {"probabilities": "often"}, "must be True or rising"),
        (Calibrated, {"probabilities": 3}, "must be True or rising"),
    ],
)
def test_what_cannot_be_given_is_refused_in_one_line(model, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        gs.nowcast(rain(), model(), **{"lead_steps": 1, **options})
    assert "\n" not in str(caught.value)


def test_the_thresholds_asked_for_are_kept_as_they_are():
    assert read_request(None, 0, (0.5, 2), (1, 1, 1)).thresholds == (0.5, 2.0)
    assert read_request(None, 0, np.array([1.0, 3.0]), (1, 1, 1)).thresholds == (1.0, 3.0)
    assert read_request(None, 0, True, (1, 1, 1)).thresholds == uncertainty.THRESHOLDS_MM_H
    assert read_request(None, 0, False, (1, 1, 1)).thresholds is None


def test_every_nowcast_model_is_loaded_by_the_table(monkeypatch):
    made = []
    monkeypatch.setattr(
        loading, "_MAKERS", dict.fromkeys(loading._MAKERS, lambda card, device: made.append(card.name))
    )
    loading._load.cache_clear()
    names = [one.name for one in list_models("nowcast")]
    for name in names:
        gs.load_model(name)
    loading._load.cache_clear()
    assert made == names


def test_loading_a_baseline_imports_no_other(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysteps", None)
    loading._load.cache_clear()
    assert gs.load_model("climatology").card.name == "climatology"
