"""`geoscope.scenarios` over a runner that can be worked out by hand: the shape of the answer, and what is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

from geoscope.errors import Cancelled, ConfigError, DataError
from geoscope.inference.scenarios import check_memory, prepare_scenarios, scenarios
from geoscope.models.scenarios.forecast import Member
from geoscope.models.scenarios.outlook import Expectation
from geoscope.zoo.cards import card


class StandIn:
    """Every member is the newest frame, scaled until its mean is the asked one."""

    min_frames = 2
    device = "cpu"

    def __init__(self) -> None:
        self.card = card("persistence")
        self.opened: list[dict] = []

    def open(self, past, **scene):
        self.opened.append({"past": past, **scene})
        scene["progress"]("looking", 1.0)
        region = scene["region"]
        weights = np.ones(past.shape[1:]) if region is None else region
        return SimpleNamespace(past=past, weights=weights, **scene, expectation=Expectation(1.5, 0.25, 5.0))

    def draw(self, scene, *, members, sigmas, steps, seed, shape, progress):
        for number in members:
            for sigma in sigmas:
                progress("drawing", 0.5)
                frames = np.repeat(scene.past[-1:], scene.lead_steps, axis=0) * (1 + 0.01 * number)
                wanted = scene.expectation.mean_at(sigma)
                mean = np.nansum(frames * scene.weights) / (scene.weights.sum() * len(frames))
                rain = (frames * wanted / mean).astype(np.float32)
                yield Member(number, sigma, wanted, wanted, 0.1 * sigma, abs(sigma) < 3, rain)


@pytest.fixture
def rain() -> xr.DataArray:
    generator = np.random.default_rng(0)
    values = generator.gamma(0.4, 4.0, (5, 40, 50)).astype(np.float32)
    times = np.datetime64("2024-06-01T12:00", "ns") + np.arange(5) * np.timedelta64(10, "m")
    field = xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={"time": times, "y": -1000.0 * np.arange(40), "x": 1000.0 * np.arange(50)},
        name="rain_rate",
        attrs={"units": "mm/h"},
    )
    return field.rio.write_crs("EPSG:3857")


def test_the_answer_has_every_dimension_and_coordinate(rain):
    answer = scenarios(rain, sigmas=(2, -2, 0), members=2, seed=3, model=StandIn(), lead_steps=4)
    assert answer.dims == ("sigma", "member", "time", "y", "x")
    assert answer.shape == (3, 2, 4, 40, 50)
    assert answer["sigma"].values.tolist() == [-2, 0, 2]
    assert answer["member"].values.tolist() == [0, 1]
    expectation = Expectation(1.5, 0.25, 5.0)
    np.testing.assert_allclose(answer["asked_mean"], [expectation.mean_at(n) for n in (-2, 0, 2)])
    np.testing.assert_allclose(
        answer["achieved_mean"], np.broadcast_to(answer["asked_mean"].values[:, None], (3, 2))
    )
    np.testing.assert_allclose(answer.mean(("time", "y", "x")), answer["achieved_mean"], rtol=1e-4)
    assert float(answer["mu"]) == pytest.approx(expectation.mean_at(0))
    beyond = expectation.probability_beyond(2)
    assert answer["probability"].values.tolist() == pytest.approx([beyond, 0.5, beyond], abs=1e-3)
    assert answer["plausible"].dtype == bool
    assert answer["shift"].values[:, 0].tolist() == pytest.approx([-0.2, 0.0, 0.2])
    assert str(answer["forecast_reference_time"].values)[:16] == "2024-06-01T12:40"
    assert str(answer["time"].values[-1])[:16] == "2024-06-01T13:20"
    assert answer.attrs["units"] == "mm/h"
    assert json.loads(answer.attrs["outlook"])["scale"] == 0.25
    told = json.loads(answer.attrs["run_card"])
    assert (told["seed"], told["steps"], told["model"]) == (3, 10, "persistence")


def test_later_frames_are_never_shown(rain):
    runner = StandIn()
    scenarios(rain, (0,), 1, model=runner, issue_time="2024-06-01T12:20", lead_steps=2)
    assert len(runner.opened[0]["past"]) == 3


def test_a_region_reaches_the_model(rain):
    runner = StandIn()
    mask = np.zeros((40, 50), bool)
    mask[:10, :10] = True
    answer = scenarios(rain, (1,), 1, model=runner, region=mask, lead_steps=2)
    inside = answer.values[0, 0][:, mask]
    assert inside.mean() == pytest.approx(float(answer["asked_mean"][0]), rel=1e-4)
    assert runner.opened[0]["region"].sum() == 100


def test_a_source_answers_one_question_after_another(rain):
    runner = StandIn()
    source = prepare_scenarios(rain, runner, lead_steps=2)
    assert source.mu == pytest.approx(source.asked_mean(0))
    assert source.sigma_of(source.asked_mean(1.5)) == pytest.approx(1.5)
    drawn = [*source.draw((1.0,), [4]), *source.draw((2.0,), [4])]
    assert len(runner.opened) == 1
    field = source.field(drawn, note="by hand")
    assert field["member"].values.tolist() == [4]
    assert json.loads(field.attrs["run_card"]) == {"note": "by hand"}
    with pytest.raises(ConfigError, match="draw every member at every sigma"):
        source.field([*drawn, *source.draw((1.0,), [5])])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sigmas": ()}, "must be one or more numbers from -6 to 6"),
        ({"sigmas": (0, 7)}, "must be one or more numbers from -6 to 6"),
        ({"sigmas": (float("nan"),)}, "must be one or more numbers"),
        ({"sigmas": ("much",)}, "must be one or more numbers"),
        ({"sigmas": 2}, "must be one or more numbers"),
        ({"members": 0}, "members=0 must be a whole number, 1 or more"),
        ({"members": 1.5}, "members=1.5"),
        ({"steps": 0}, "steps=0 must be a whole number from 1 to 1000"),
        ({"seed": -1}, "seed=-1"),
        ({"members": 10_000_000}, "scenarios of 2 frames of 40 x 50 pixels need"),
        ({"region": [(0.0, 1e7), (1.0, 1e7), (1.0, 2e7)]}, "region lies outside the field"),
        ({"issue_time": "2024-06-01T12:05"}, "is not the time of a frame"),
        ({"issue_time": "2024-06-01T12:00"}, "needs 2 frames up to the issue time, got 1"),
        ({"model": "persistence"}, "persistence draws no scenarios: take model='prediff-nowcast'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(rain, options, words):
    asked = {"sigmas": (0,), "members": 1, "model": StandIn(), "lead_steps": 2, **options}
    with pytest.raises((ConfigError, DataError), match=words) as refused:
        scenarios(rain, **asked)
    assert "\n" not in str(refused.value)


def test_a_dry_context_says_what_to_do(rain):
    with pytest.raises(
        DataError, match="is dry: mu and sigma are undefined without rain; choose another issue time"
    ):
        scenarios(rain * 0, (0,), 1, model=StandIn(), lead_steps=2)


def test_memory_is_reckoned_before_anything_starts():
    check_memory(20, 12, (256, 256))
    with pytest.raises(ConfigError, match=r"ask for at most \d+, for fewer leads or for a smaller cut"):
        check_memory(2000, 12, (1024, 1024))


def test_progress_may_stop_it(rain):
    def stop(stage: str, share: float) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        scenarios(rain, (0,), 1, model=StandIn(), lead_steps=2, progress=stop)
