"""The cross-validation leaves whole sources out and lets a storm in several cuts count once."""

import json
import math
import tomllib

import numpy as np
import pytest

from benchmarks import cross_validation
from benchmarks.cross_validation_tables import card_rows, event_rows, markdown, summary
from benchmarks.ship_nowcaster import (
    PAGE,
    PAGE_BEGIN,
    PAGE_END,
    cross_validation_rows,
    score_rows,
    write_between,
)
from geoscope.training.splits import Fold, GroupRule, read_group_rule

RULE = GroupRule(groups={"cut_": "one storm"}, sources={"cut_": "here", "single_": "there"})


def row(csi_mean: float, **changes) -> dict:
    return {"csi_mean": csi_mean, "csi": {"5": 0.2, "10": 0.1}, "mae": 1.0, "rain_ratio": 1.0, **changes}


def event(storm: str, fold: int, persistence: float, extrapolation: float, sprog: float, model: dict) -> dict:
    models = {
        "persistence": row(persistence),
        "extrapolation": row(extrapolation),
        "pysteps-sprog": row(sprog, mae=2.0),
        "earthformer": {"minutes": 60, "issues": 2, **model},
    }
    return {"fold": fold, "source": f"radar {fold}", "storm": storm, "models": models}


EVENTS = {
    "cut_a": event("one", 0, 0.2, 0.1, 0.1, row(0.4)),
    "cut_b": event("one", 0, 0.2, 0.4, 0.1, row(0.6)),
    "single_c": event("two", 1, 0.1, 0.3, 0.1, row(0.27, mae=3.0)),
}


def test_a_storm_in_two_cuts_counts_once():
    total = summary(EVENTS)
    assert (total["storms"], total["events"]) == (2, 3)
    assert total["earthformer"]["csi_mean"] == pytest.approx((0.5 + 0.27) / 2)
    assert total["earthformer"]["mae"] == pytest.approx(2.0)
    assert total["best_baseline_csi_mean"] == pytest.approx(
        ((0.2 + 0.4) / 2 + 0.3) / 2
    )  # the best of each event
    assert total["gain"] == pytest.approx(0.385 / 0.3 - 1)


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


def test_the_card_shows_sources_then_folds_then_all():
    rows = card_rows(EVENTS)
    assert [row["left out"] for row in rows] == [
        "radar 0 (fold 1)",
        "radar 1 (fold 2)",
        "fold 1",
        "fold 2",
        "all storms",
    ]
    assert [row["storms"] for row in rows] == [1, 1, 1, 1, 2]
    assert rows[-1]["CSI mean best of them"] == pytest.approx((0.3 + 0.3) / 2)
    assert rows[-1]["MAE model"] == pytest.approx(2.0)


def test_the_page_begins_with_what_went_worst():
    rows = event_rows(EVENTS)
    assert [row["event"] for row in rows] == ["single_c", "cut_b", "cut_a"]
    assert rows[0]["gain"] == pytest.approx(-0.1)
    first = markdown(rows).splitlines()[2]
    assert first.startswith("| single_c | 2 | 60 | 2 | -10% | 0.100 | 0.300 | 0.100 | 0.300 | 0.270 |")


def test_a_fold_that_was_scored_is_not_scored_again(tmp_path, monkeypatch):
    monkeypatch.setattr(
        cross_validation, "score_events", lambda sources, models: {"cut_a": {"m": 1, "earthformer": 2}}
    )
    card = tmp_path / "model" / "earthformer.toml"
    fold = Fold(train=("single_c",), test=("cut_a",))
    first = cross_validation.fold_scores(fold, {"cut_a": None}, ["m"], card)
    monkeypatch.setattr(cross_validation, "score_events", lambda sources, models: {"cut_a": {"other": 1}})
    assert cross_validation.fold_scores(fold, {"cut_a": None}, ["m"], card) == first
    assert cross_validation.fold_scores(fold, {"cut_a": None}, ["other"], card) == {"cut_a": {"other": 1}}


def test_a_cross_validation_becomes_rows_of_the_card():
    rows = tomllib.loads(cross_validation_rows({"events": EVENTS}))["scores"]
    assert [row["left out"] for row in rows][-1] == "all storms"
    assert rows[-1]["CSI mean model"] == pytest.approx(0.385)
    assert {row["table"] for row in rows} == {"cross-validation"}


def test_what_stands_between_markers_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{PAGE_BEGIN}\nold\n{PAGE_END}\nafter\n")
    write_between(page, PAGE_BEGIN, PAGE_END, "new\n")
    assert page.read_text() == f"before\n{PAGE_BEGIN}\nnew\n{PAGE_END}\nafter\n"
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(PAGE_BEGIN) == text.count(PAGE_END) == 1


def test_a_threshold_that_an_event_never_reached_is_left_out_of_means():
    dry = event("three", 1, 0.1, 0.1, 0.1, row(0.2, csi={"5": math.nan, "10": math.nan}))
    for model in ("persistence", "extrapolation", "pysteps-sprog"):
        dry["models"][model]["csi"] = {"5": math.nan, "10": math.nan}
    total = summary({**EVENTS, "dry": dry})
    assert total["earthformer"]["csi_5"] == pytest.approx(0.2)
    assert markdown(event_rows({"dry": dry})).splitlines()[-1].count(" - ") == 4
