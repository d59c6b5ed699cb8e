"""The outlook: what a fit finds on numbers whose answer is known, and calibration on synthetic Gaussians."""

import json
import math

import numpy as np
import pytest
import torch

from geoscope.errors import ConfigError, DataError
from geoscope.models.scenarios.outlook import FEATURES, LEAST_EXPECTED_MM_H, student_tail
from geoscope.training.scenarios.outlook import (
    OutlookTable,
    Rows,
    calibration_of,
    cross_validated,
    fit_lines,
    fit_outlook,
    rows_of,
    seen_sigmas,
    write_outlook,
)
from geoscope.training.splits import GroupRule
from tests.training.scenario_events import some_cases

TABLE = OutlookTable(steps=200, batch=256, learning_rate=3e-2, weight_decay=0.0, freedom=50.0)


def synthetic(count=2000, sources=4, bias=0.3, scale=0.5, by_source=0.0):
    """Truth = expected + bias + scale * a normal number + an offset of each source."""
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (count, len(FEATURES)))
    source = np.arange(count) % sources
    offsets = by_source * np.where(np.arange(sources) % 2, 1.0, -1.0)
    truth = features[:, 0] + bias + scale * random.normal(size=count) + offsets[source]
    storms = np.array([f"storm_{s}_{k % 3}" for k, s in enumerate(source)])
    names = np.array([f"source_{s}" for s in source])
    return Rows(torch.from_numpy(features).float(), torch.from_numpy(truth).float(), storms, names)


def test_a_fit_finds_location_and_scale():
    rows = synthetic()
    outlook = fit_lines(rows, TABLE, seed=1)
    with torch.no_grad():
        location, scale = outlook(rows.features)
    assert (location - rows.features[:, 0]).mean().item() == pytest.approx(0.3, abs=0.03)
    assert scale.mean().item() == pytest.approx(0.5, rel=0.06)
    assert torch.equal(outlook.lines.weight, fit_lines(rows, TABLE, seed=1).lines.weight)


def test_features_that_name_the_source_have_no_effect():
    rows = synthetic()
    other = rows.features.clone()
    other[:, FEATURES.index("pixel")] += 100.0
    outlook = fit_lines(rows, TABLE, seed=1)
    with torch.no_grad():
        np.testing.assert_allclose(outlook(other)[0], outlook(rows.features)[0], atol=1e-5)


def test_synthetic_gaussians_are_calibrated():
    outlook, calibration = fit_outlook(synthetic(), TABLE, seed=1)
    assert calibration.spread == pytest.approx(1.0, rel=1e-3)
    assert float(outlook.widening) == pytest.approx(1.0, abs=0.1)
    assert calibration.bias == pytest.approx(0.0, abs=0.1)
    assert calibration.within_one == pytest.approx(0.683, abs=0.03)
    assert calibration.within_two == pytest.approx(0.954, abs=0.015)
    assert calibration.expected_within_one == pytest.approx(1 - 2 * student_tail(1.0, 50.0))
    assert calibration.expected_within_two == pytest.approx(0.954, abs=0.01)


def test_what_differs_between_sources_widens_the_scale():
    """Offsets of +-0.5 beside a scale of 0.5: three sources of four say little of the one that is left out."""
    outlook, _ = fit_outlook(synthetic(by_source=0.5), TABLE, seed=1)
    assert float(outlook.widening) > 1.15


def test_calibration_by_hand_counts_storms_alike():
    standard = np.array([0.5, 0.5, 0.5, -3.0])
    found = calibration_of(standard, np.array(["a", "a", "a", "b"]), freedom=5.0)
    assert (found.rows, found.storms) == (4, 2)
    assert found.bias == pytest.approx((0.5 - 3.0) / 2)
    assert found.spread == pytest.approx(math.sqrt((0.25 + 9.0) / 2))
    assert (found.lowest, found.highest) == (pytest.approx(-3.0, abs=0.01), 0.5)
    assert (found.within_one, found.within_two) == (pytest.approx(0.5), pytest.approx(0.5))


def test_nothing_is_left_out_of_one_storm_and_storms_of_one_source():
    rows = synthetic(sources=1)
    alone = Rows(rows.features, rows.truth, np.full(len(rows), "storm"), rows.sources)
    assert cross_validated(alone, TABLE, seed=1) is None
    outlook, calibration = fit_outlook(alone, TABLE, seed=1)
    assert calibration is None
    assert float(outlook.widening) == 1.0
    assert cross_validated(rows, TABLE, seed=1) is not None


def test_rows_come_from_cases_with_storm_and_source(tmp_path):
    cases = some_cases(tmp_path)
    rows = rows_of(cases, GroupRule({"storm_": "one storm"}, {"storm_b": "radar"}))
    assert set(rows.storms) == {"one storm"}
    assert set(rows.sources) == {"storm_a", "radar"}
    assert (rows.features[:, 0] >= math.log1p(LEAST_EXPECTED_MM_H / 0.1) - 1e-6).all()
    means = np.concatenate([case.read("means")["means"] for case in cases])
    assert len(rows) <= len(means)
    assert set(np.round(rows.truth.numpy(), 4)) <= set(np.round(np.log1p(means / 0.1), 4))


def test_cases_without_rain_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("geoscope.training.scenarios.outlook.LEAST_EXPECTED_MM_H", 1000.0)
    with pytest.raises(DataError, match=r"in 6 cases no region has 1000\.0 mm/h expected"):
        rows_of(some_cases(tmp_path), GroupRule())


def test_what_is_written_tells_the_calibration(tmp_path):
    rows = synthetic()
    write_outlook(*fit_outlook(rows, TABLE, seed=1), tmp_path)
    about = json.loads((tmp_path / "calibration.json").read_text())
    assert about["spread"] == pytest.approx(1.0, rel=1e-3)
    assert about["storms"] == 12
    low, high = seen_sigmas(tmp_path)
    assert (low, high) == (about["lowest"], about["highest"])
    assert -5 < low < -2.5 < 2.5 < high < 5
    write_outlook(fit_lines(rows, TABLE, seed=1), None, tmp_path)
    assert seen_sigmas(tmp_path) is None
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"steps": 0}, "steps=0"),
        ({"batch": 0}, "batch=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"freedom": 2.0}, "freedom=2.0: expected more than 2"),
    ],
)
def test_tables_that_cannot_work_are_refused(table, said):
    with pytest.raises(ConfigError, match=said):
        OutlookTable(**table)
