"""The cross-validation leaves whole sources out and lets a storm in several cuts count once."""

import json

import numpy as np
import pytest

from benchmarks import cross_validation
from benchmarks.ship_nowcaster import score_rows
from geoscope.training.splits import GroupRule, read_group_rule

RULE = GroupRule(groups={"cut_": "one storm"}, sources={"cut_": "here", "single_": "there"})


def row(csi_mean: float, **changes) -> dict:
    return {"csi_mean": csi_mean, "csi": {"5": 0.2, "10": 0.1}, "mae": 1.0, "rain_ratio": 1.0, **changes}


def test_a_storm_in_two_cuts_counts_once():
    table = {
        "cut_a": {"persistence": row(0.2), "extrapolation": row(0.1), "earthformer": row(0.4)},
        "cut_b": {"persistence": row(0.2), "extrapolation": row(0.4), "earthformer": row(0.6)},
        "single_c": {"persistence": row(0.1), "extrapolation": row(0.3), "earthformer": row(0.3, mae=3.0)},
    }
    total = cross_validation.summary(table, RULE)
    assert (total["groups"], total["events"]) == (2, 3)
    assert total["earthformer"]["csi_mean"] == pytest.approx((0.5 + 0.3) / 2)
    assert total["earthformer"]["mae"] == pytest.approx(2.0)
    assert total["best_baseline_csi_mean"] == pytest.approx(
        ((0.2 + 0.4) / 2 + 0.3) / 2
    )  # the best of each event
    assert total["gain"] == pytest.approx(0.4 / 0.3 - 1)


def test_folds_leave_whole_sources_out(tmp_path):
    for name in ("cut_a", "cut_b", "single_c", "single_d"):
        meta = json.dumps({"dt_minutes": 5, "pixel_km": 1})
        np.savez(tmp_path / f"{name}.npz", rain=np.zeros((4, 8, 8), np.uint16), meta=meta)
    folds = cross_validation.folds_of(tmp_path, RULE, 2, seed=0)
    assert sorted(sorted(fold.test) for fold in folds) == [["cut_a", "cut_b"], ["single_c", "single_d"]]


def test_the_table_of_the_real_events_knows_their_sources(repository):
    rule = read_group_rule(repository / "benchmarks" / "radar_events_groups.toml")
    assert rule.group_of("opera_20180824_1") == rule.group_of("opera_20180824_2")
    assert rule.source_of("nowcastnet_us_large_0") == rule.source_of("nowcastnet_us_7")


def test_the_card_shows_every_event_and_not_the_pool(tmp_path):
    names = ("persistence", "extrapolation", "pysteps-sprog", "earthformer-nowcast")
    rows = [
        {"event": event, "model": name, "cases": 3, **row(0.1 * (number + 1))}
        for event in ("mch", "all events, pooled")
        for number, name in enumerate(names)
    ]
    path = tmp_path / "held_out.json"
    path.write_text(json.dumps({"rows": rows}))
    text = score_rows(path)
    assert text.count("[[scores]]") == 1
    assert '"CSI mean S-PROG" = 0.300' in text
    assert '"CSI 10 model" = 0.100' in text
