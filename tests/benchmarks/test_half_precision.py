"""What bfloat16 changes in scores: the levels, a run on a small event, and an empty folder."""

import json

import numpy as np
import pytest

from benchmarks import half_precision


def test_codes_of_sevir_are_liquid_and_rain_by_hand():
    assert half_precision.liquid(5) == 0.0
    assert half_precision.liquid(16) == pytest.approx(14 / 90.66)
    assert half_precision.liquid(133) == pytest.approx(np.exp(49.1 / 38.9))
    # 3.53 kg/m2 over 5 km are 0.707 g/m3, so 205.4 ** 1.75 = 11,140 mm6/m3, which is 12.3 mm/h
    assert half_precision.rain_of_code(133) == pytest.approx(12.34, abs=0.01)


def test_three_variants_are_scored_on_a_small_event(tmp_path, capsys):
    rain = np.zeros((6, 64, 64), dtype=np.uint16)
    for step in range(6):
        rain[step, 20:40, 10 + 2 * step : 30 + 2 * step] = 1500
    np.savez(
        tmp_path / "sevir_square.npz",
        rain=rain,
        meta=json.dumps({"dt_minutes": 5, "pixel_km": 3.0, "times": None}),
    )
    half_precision.main([str(tmp_path), "--leads", "2", "--json", str(tmp_path / "table.json")])
    table = json.loads((tmp_path / "table.json").read_text())
    assert set(table["csi"]) == {"float32", "bfloat16", "prepared"}
    assert all(len(row) == 6 for row in table["csi"].values())
    assert table["csi"]["float32"][0] > 0.5
    assert max(table["pooled"].values()) < 0.1
    assert "largest difference of CSI" in capsys.readouterr().out


def test_a_folder_without_such_files_is_refused_in_one_line(tmp_path, capsys):
    assert half_precision.main([str(tmp_path), "--only", "radar_"]) == 2
    assert "begins with radar_: give --only" in capsys.readouterr().err
