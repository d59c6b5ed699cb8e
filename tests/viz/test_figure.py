"""Pictures of fields: what is drawn where, which texts they carry, and what they refuse."""

import numpy as np
import pyproj
import pytest
import xarray as xr

from geoscope.errors import ConfigError, DataError
from geoscope.viz import figure
from geoscope.viz.colours import RAIN, RAIN_DIFFERENCE, RAIN_PERCEPTUAL
from geoscope.viz.figure import Figure, compare_panels, contact_sheet, draw_frame, lead_text, time_text
from geoscope.viz.maps import FieldMap, text_width, write_text

T0 = np.datetime64("2018-09-14T17:00", "ns")


def rain(frames=3, shape=(30, 24), is_forecast=False, crs=3857, **attrs) -> xr.DataArray:
    """Dry in the north, 3 mm/h in the south, no data in the north-west corner; over the Carolina coast."""
    values = np.zeros((frames, *shape), np.float32)
    values[:, shape[0] // 2 :] = 3.0
    values[:, : shape[0] // 3, : shape[1] // 3] = np.nan
    leads = (np.arange(1, frames + 1) * np.timedelta64(10, "m")).astype("timedelta64[ns]")
    field = xr.DataArray(
        values,
        dims=("time", "y", "x"),
        name="rain_rate",
        coords={
            "time": T0 + leads,
            "y": 4.2e6 - 5000.0 * np.arange(shape[0]),
            "x": -8.65e6 + 5000.0 * np.arange(shape[1]),
        },
        attrs={"units": "mm/h", "credit": "a test", "title": "A storm", **attrs},
    )
    if crs:
        wkt = pyproj.CRS.from_epsg(crs).to_wkt()
        field = field.assign_coords(spatial_ref=xr.DataArray(0, attrs={"crs_wkt": wkt}))
    if is_forecast:
        field = field.assign_coords(lead_time=("time", leads), forecast_reference_time=T0)
        field.attrs["model"] = "persistence"
    return field


def written(monkeypatch) -> list[str]:
    """Every text that pictures write from here on."""
    texts = []

    def note(image, at, text, *rest, **options):
        texts.append(text)

    monkeypatch.setattr(figure, "write_text", note)
    return texts


def test_times_and_leads_are_said_plainly():
    assert time_text(T0) == "Fri 14 Sep 2018 17:00 UTC"
    assert lead_text(np.timedelta64(5, "m")) == "+5 min"
    assert lead_text(np.timedelta64(90, "m")) == "+1 h 30 min"
    assert lead_text(np.timedelta64(3, "h")) == "+3 h"
    assert lead_text(np.timedelta64(0, "m")) == "+0 min"
    assert lead_text(np.timedelta64(-10, "m")) == "-10 min"


def test_a_frame_says_quantity_unit_time_lead_model_and_credit(monkeypatch):
    texts = written(monkeypatch)
    draw_frame(rain(is_forecast=True), 1)
    assert {"Rain rate", "Rain rate (mm/h)", "Fri 14 Sep 2018 17:20 UTC", "lead +20 min"} <= set(texts)
    assert "Forecast by persistence, issued Fri 14 Sep 2018 17:00 UTC" in texts
    assert "Data: a test · Made with Natural Earth" in texts
    assert {"0.1", "120", "dry", "no data"} <= set(texts)


@pytest.mark.parametrize(
    ("credit", "line"),
    [("NOAA", "Data: NOAA · "), ("Radar: KNMI", "Radar: KNMI · "), ("", "")],
)
def test_a_credit_says_once_what_it_credits(monkeypatch, credit, line):
    texts = written(monkeypatch)
    draw_frame(rain(credit=credit), 0)
    assert f"{line}Made with Natural Earth" in texts


def test_an_observation_names_its_source_and_no_lead(monkeypatch):
    texts = written(monkeypatch)
    draw_frame(rain(), 0)
    assert "A storm" in texts
    assert not [text for text in texts if "lead" in text or "Forecast" in text]


def test_simulated_rain_stays_labelled_and_a_field_without_a_place_has_no_base_map(monkeypatch):
    texts = written(monkeypatch)
    draw_frame(rain(crs=None, credit="Simulated by geoscope, not an observation"), 0)
    assert "Simulated by geoscope, not an observation" in texts


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_map_shows_rain_dry_no_data_and_outside_apart(theme):
    field = rain()
    chart = FieldMap(field, 400, theme)
    picture = np.asarray(chart.draw(field.values[0], RAIN, opacity=1.0)).astype(int)
    left, top, right, bottom = chart._box
    colour = RAIN.palette(theme)[RAIN.classify(np.array(3.0)), :3].astype(int)
    middle = (left + right) // 2
    near = picture[bottom - 40 : bottom - 5, left + 10 : right - 10].reshape(-1, 3)
    assert (np.abs(near - colour).max(axis=1) <= 1).mean() > 0.6  # the rest is coast and graticule
    hatched = picture[top + 12 : top + 50, left + 12 : left + 60].reshape(-1, 3)
    assert len(np.unique(hatched, axis=0)) >= 2
    dry, outside = picture[top + 8, middle + 20], picture[top // 2, middle + 20]
    assert (np.abs(dry - outside) > 2).any()


def test_a_pixel_of_the_field_is_drawn_where_it_lies():
    field = rain() * 0
    field[0, 12, 17] = 30.0
    chart = FieldMap(field, 600)
    picture = np.asarray(chart.draw(field.values[0], RAIN, opacity=1.0)).astype(int)
    colour = RAIN.palette()[RAIN.classify(np.array(30.0)), :3].astype(int)
    rows, cols = np.nonzero((np.abs(picture - colour) <= 1).all(axis=-1))
    x0, y0, x1, y1 = chart._frame.extent
    mx, my = float(field.x[17]), float(field.y[12])
    assert cols.mean() + 0.5 == pytest.approx((mx - x0) / (x1 - x0) * chart.size[0], abs=1.5)
    assert rows.mean() + 0.5 == pytest.approx((y1 - my) / (y1 - y0) * chart.size[1], abs=1.5)


@pytest.mark.parametrize("shape", [(30, 24), (4, 60), (60, 4)])
def test_maps_of_any_shape_have_a_sensible_size_and_even_pictures(shape):
    image = draw_frame(rain(shape=shape), 0, width=501)
    assert image.width % 2 == image.height % 2 == 0
    assert 250 < image.height < 900


def test_every_kind_of_scale_has_a_readable_bar(monkeypatch):
    texts = written(monkeypatch)
    for kind, marks in (
        ("stepped", {"0.5", "80"}),
        ("perceptual", {"0.1", "100"}),
        ("diverging", {"-50", "+0.5"}),
    ):
        texts.clear()
        draw_frame(rain(), 0, kind=kind)
        assert marks <= set(texts)
    assert "no change" in texts
    temperature = rain(long_name="temperature").assign_attrs(units="K") + 270
    temperature.attrs = {"units": "K", "long_name": "temperature"}
    texts.clear()
    draw_frame(temperature, 0, kind="perceptual")
    assert "Temperature (K)" in texts


def test_ticks_stand_where_their_values_are():
    for scale in (RAIN, RAIN_PERCEPTUAL, RAIN_DIFFERENCE):
        for at, text in figure._ticks(scale):
            assert np.interp(at, np.arange(len(scale.edges)), scale.edges) == pytest.approx(
                float(text), rel=1e-3
            )


def test_a_sheet_shows_first_and_last_and_a_single_frame_fills_it(monkeypatch):
    texts = written(monkeypatch)
    sheet = contact_sheet(rain(9, is_forecast=True))
    assert sheet.width == 1500
    assert {"lead +10 min", "lead +1 h 30 min"} <= set(texts)
    assert len([text for text in texts if text.startswith("lead")]) == 6
    assert contact_sheet(rain(1)).width == 960


def test_panels_side_by_side_share_time_and_lead(monkeypatch):
    texts = written(monkeypatch)
    truth, forecast = rain(), rain(2, is_forecast=True)
    image = compare_panels({"Observed": truth, "Forecast": forecast}, truth.time.values[1])
    assert image.width == 1500
    assert {"Observed", "Forecast", "Fri 14 Sep 2018 17:20 UTC"} <= set(texts)
    assert "lead +20 min, issued Fri 14 Sep 2018 17:00 UTC" in texts
    with pytest.raises(DataError, match="no frame valid at Fri 14 Sep 2018 17:30"):
        compare_panels({"Observed": truth, "Forecast": forecast}, truth.time.values[2])
    with pytest.raises(DataError, match="one grid only"):
        compare_panels({"a": truth, "b": rain(shape=(5, 5))}, truth.time.values[0])
    with pytest.raises(DataError, match="nothing to compare"):
        compare_panels({}, truth.time.values[0])


def test_a_long_title_is_shortened_to_its_room(monkeypatch):
    texts = written(monkeypatch)
    draw_frame(rain(title="A very long name of a storm " * 20), 0)
    shortened = [text for text in texts if text.endswith("...")]
    assert len(shortened) == 1
    assert text_width(shortened[0], 16) < 960


def test_text_is_written_in_its_colour_with_a_halo():
    from PIL import Image

    image = Image.new("RGB", (80, 40), "#808080")
    write_text(image, (40, 30), "H I", 20, "#ff0000", "ms", "#0000ff")
    pixels = np.asarray(image).reshape(-1, 3)
    assert (pixels == (255, 0, 0)).all(axis=1).any()
    assert (pixels[:, 2] > 200).any()
    assert (pixels == 128).all(axis=1).mean() > 0.4


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(DataError, match="time, y, x"):
        draw_frame(rain()[0], 0)
    with pytest.raises(DataError, match="time, y, x"):
        contact_sheet(rain()[:0])
    with pytest.raises(ConfigError, match="frame=3"):
        draw_frame(rain(), 3)
    with pytest.raises(ConfigError, match="width=10 "):
        Figure(rain(), RAIN, width=10)
