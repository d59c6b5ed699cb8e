"""A verification as one HTML page that stands alone: pictures, charts, scores, fair comparison and run cards inside."""

import base64
import contextlib
import html
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from PIL import Image

import geoscope
from geoscope.inference.jobs import Report
from geoscope.ui.nowcast_frames import outcomes
from geoscope.ui.nowcast_runs import Run, title_of
from geoscope.ui.open_field import OpenField, say_duration, say_time
from geoscope.ui.places import region_mask
from geoscope.ui.score_lines import chart_lines, chart_looks, legend
from geoscope.ui.score_tables import CSS as TABLE_CSS
from geoscope.ui.score_tables import lead_table, summary_table
from geoscope.ui.score_words import GLOSSARY, fairness_note, say_counted, say_scored, say_smoothed
from geoscope.ui.scoring import ScoreBoard
from geoscope.viz.colours import OUTCOME, scale_for
from geoscope.viz.figure import Figure, Panel, time_text
from geoscope.viz.line_svg import STROKES, line_chart_svg

MOST_MAPS = 3  # forecasts with a map; the others have their scores
_CSS = """
body { font: 14px/20px system-ui, sans-serif; color: #20262c; max-width: 1180px; margin: 24px auto; padding: 0 16px; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 16px; margin: 22px 0 6px; } img { max-width: 100%; display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 8px; }
.keys span { margin-right: 18px; } .keys svg { width: 26px; height: 8px; margin-right: 5px; }
.fair { border-left: 4px solid #d98324; padding: 4px 12px; background: #f6f1ea; } pre { white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: 11px; line-height: 15px; } .quiet { color: #55626e; font-size: 12px; }
@media print { body { margin: 0; } }
"""


@dataclass(frozen=True)
class ReportContent:
    """What a report is made of: the field, the forecasts by name, their scores over the first ``leads`` leads."""

    field: OpenField
    runs: Mapping[str, Run]
    board: ScoreBoard
    leads: int
    threshold: float


def make_report(content: ReportContent, progress: Report) -> str:
    """The page as text; for a worker thread, as drawing its maps takes a second or two."""
    board, field = content.board, content.field
    scores = board.until(content.leads)
    progress("drawing the maps", 0.1)
    maps = _picture(_rain_maps(content), "rain, observed and forecast")
    progress("drawing hits and misses", 0.5)
    failures = _picture(_outcome_maps(content), "hits, misses and false alarms")
    progress("writing", 0.8)
    tables = [
        ("CSI by lead and threshold", lead_table(scores, board, "csi", content.threshold)),
        (
            f"FSS by lead and scale, ≥ {content.threshold:g}",
            lead_table(scores, board, "fss", content.threshold),
        ),
        ("Errors by lead", lead_table(scores, board, "mae", content.threshold)),
    ]
    caption = say_counted(board, content.leads).removesuffix(", more as the player passes them")
    body = [
        f"<h1>Verification: {_text(field.title)}</h1>",
        f"<p>{_text(say_scored(field, board))}</p>",
        f'<p class="fair">{_text(fairness_note(tuple(content.runs)))}</p>',
        summary_table(scores, board, content.threshold, caption),
        f"<h2>At the last lead scored</h2>{maps}{failures}",
        f"<h2>Charts, at or above {content.threshold:g} {_text(board.units)}</h2>{_keys(board)}",
        _charts(content, scores),
        f"<p>{_text(say_smoothed(scores, board))}</p>",
        *(f"<h2>{_text(title)}</h2>{table}" for title, table in tables),
        f'<h2>What the scores mean</h2><p class="quiet">{_text(GLOSSARY)}</p>',
        f"<h2>Run cards</h2>{''.join(_run_card(name, run) for name, run in content.runs.items())}",
        f'<p class="quiet">Data: {_text(field.credit)}. Made by geoscope {geoscope.__version__}.</p>',
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Verification: {_text(field.title)}</title><style>{_CSS}{TABLE_CSS.replace(':host', '.none')}</style>"
        f"</head><body>{''.join(body)}</body></html>"
    )


def _text(value: str) -> str:
    return html.escape(str(value))


def _picture(image: Image.Image, what: str) -> str:
    """An image as data inside the page; 128 colours are enough for stepped maps and make it a third as large."""
    packed = io.BytesIO()
    image.quantize(128).save(packed, "PNG", optimize=True)
    data = base64.b64encode(packed.getvalue()).decode()
    return f'<img alt="{_text(what)}" src="data:image/png;base64,{data}">'


def _at_last_lead(content: ReportContent) -> tuple[int, np.ndarray, str, str]:
    """The step of the last lead that counts, the observed frame, its valid time and lead in words."""
    index = content.board.issue_index + content.leads
    valid = time_text(content.field.time_at(index))
    return (
        content.leads - 1,
        content.field.rain.values[index],
        valid,
        f"lead +{say_duration(content.leads * content.board.step)}",
    )


def _mapped(content: ReportContent) -> dict[str, Run]:
    return dict(list(content.runs.items())[:MOST_MAPS])


def _rain_maps(content: ReportContent) -> Image.Image:
    step, observed, valid, lead = _at_last_lead(content)
    runs = _mapped(content)
    scale = scale_for(content.field.rain)
    figure = Figure(content.field.rain, scale, panels=1 + len(runs), columns=1 + len(runs), width=1500)
    panels = [Panel(observed, "Observed")]
    panels += [Panel(run.forecast.values[step], title_of(name)) for name, run in runs.items()]
    return figure.draw(panels, scale.quantity, _issued(content), valid, lead)


def _outcome_maps(content: ReportContent) -> Image.Image:
    step, observed, valid, lead = _at_last_lead(content)
    runs = _mapped(content)
    mask = region_mask(content.field, content.board.question.area)
    region = True if mask is None else mask
    figure = Figure(content.field.rain, OUTCOME, panels=len(runs), columns=len(runs), width=1500)
    panels = [
        Panel(
            np.where(region, outcomes(run.forecast.values[step], observed, content.threshold), np.nan),
            title_of(name),
        )
        for name, run in runs.items()
    ]
    title = f"Where it fails: events ≥ {content.threshold:g} {content.board.units}".replace("≥", "from")
    return figure.draw(panels, title, _issued(content), valid, lead)


def _issued(content: ReportContent) -> str:
    return f"Forecasts issued {say_time(content.field.time_at(content.board.issue_index))}"


def _keys(board: ScoreBoard) -> str:
    return (
        '<p class="keys">'
        + "".join(
            f'<span><svg viewBox="0 0 26 8"><line x1="0" y1="4" x2="26" y2="4" stroke="{colour}" stroke-width="2.5" '
            f'stroke-dasharray="{STROKES[dash]}"/></svg>{_text(name)}</span>'
            for name, colour, dash in legend(board)
        )
        + "</p>"
    )


def _charts(content: ReportContent, scores: Mapping[str, xr.Dataset]) -> str:
    lines = chart_lines(scores, content.board, content.threshold)
    charts = "".join(
        line_chart_svg(
            lines[name],
            x_label=look.x_label,
            y_label=look.y_label,
            x_span=look.x_span,
            y_span=look.y_span,
            is_log_x=look.is_log_x,
            is_log_y=look.is_log_y,
        )
        for name, look in chart_looks(content.board).items()
        if len(lines[name]) > (name == "reliability")  # the diagonal alone says nothing
    )
    return f'<div class="charts">{charts}</div>'


def _run_card(name: str, run: Run) -> str:
    text = str(run.forecast.attrs.get("run_card", "{}"))
    with contextlib.suppress(ValueError):  # shown as it is when it is no JSON
        text = json.dumps(json.loads(text), indent=1, sort_keys=True)
    return f"<details><summary>{_text(title_of(name))}</summary><pre>{_text(text)}</pre></details>"
