"""What a verification says in words: what was scored, how far it has counted, and which comparison is fair."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import xarray as xr

from geoscope.ui.nowcast_runs import title_of
from geoscope.ui.open_field import OpenField, say_duration, say_time
from geoscope.ui.places import say_place
from geoscope.ui.score_lines import smoothed_below
from geoscope.ui.scoring import ScoreBoard
from geoscope.zoo.fairness import explain, fair_baselines, fairest_of

GLOSSARY = " ".join(
    (
        "An event is rain at or above a threshold.",
        "CSI: hits / (hits + misses + false alarms), 1 is perfect.",
        "POD: share of events foretold. FAR: share of forecast events that did not come.",
        "Frequency bias: events forecast over events seen, 1 is right.",
        "FSS: agreement of event shares in windows of a size, 1 is perfect.",
        "MAE, RMSE, mean error: of the amount.",
        "Power: variance by wavelength; a forecast below what was observed is too smooth.",
        "Reliability: how often the event came where a chance was forecast; the diagonal is right.",
        "Pixels without data in a forecast or in the observation are left out of that forecast's scores.",
    )
)


def say_scored(field: OpenField, board: ScoreBoard) -> str:
    """Issue time and region of a board, in one sentence."""
    where = (
        "the whole field" if board.is_whole else f"the area drawn on the maps ({_say_bounds(field, board)})"
    )
    issue = say_time(field.time_at(board.issue_index))
    return f"Issued {issue}; scored over {where}, {board.pixels:,} pixels."


def _say_bounds(field: OpenField, board: ScoreBoard) -> str:
    """The south-western and the north-eastern corner of the rectangle around a board's area."""
    xs, ys = zip(*(board.question.area or ((0.0, 0.0),)), strict=True)
    return f"{say_place(field, min(xs), min(ys))} to {say_place(field, max(xs), max(ys))}"


def say_counted(board: ScoreBoard, leads: int) -> str:
    """How many leads count."""
    if leads == 0:
        return "Nothing counted yet: let the player pass the issue time."
    if leads == board.leads:
        every = "the only lead" if leads == 1 else f"all {leads} leads"
    else:
        every = f"{leads} of {board.leads} leads, more as the player passes them"
    return f"Scores to +{say_duration(leads * board.step)}: {every}"


def say_smoothed(scores: Mapping[str, xr.Dataset], board: ScoreBoard) -> str:
    """Which structures each forecast no longer holds at the last lead that counts, in one sentence; empty without any.

    It speaks of sizes, not of places: a forecast may keep all its power and show it where no rain fell.
    """
    below = {name: smoothed_below(data, board) for name, data in scores.items()}
    lost = [f"{title_of(name)} below {_round(size)} km" for name, size in below.items() if size is not None]
    if not lost:
        return ""
    return (
        f"Smoothed away at the last lead, with less than half of the observed power: {', '.join(lost)}. "
        "What these forecasts show of smaller structures is not to be trusted."
    )


def _round(size: float) -> str:
    return f"{size:.0f}" if size >= 10 else f"{size:.2g}"


@lru_cache(maxsize=64)
def fairness_note(models: tuple[str, ...]) -> str:
    """Why which comparison is fair for the first of ``models``, and whether a fair baseline is among the others.

    The page scores one field a model, so an ensemble counts by its mean.
    """
    why = explain(models[0], members=False)
    if not why:
        return ""
    found = fairest_of(models[0], list(models[1:]), members=False)
    if found is not None:
        return f"{why} Read it against {title_of(found.name)}."
    return f"{why} None of them is loaded: what stands beside it here is no fair comparison."


def fair_to_add(models: Sequence[str], usable: Sequence[str]) -> str:
    """The fair baseline of the first model that could be loaded and is not; empty when one is there, or none can be."""
    if fairest_of(models[0], list(models[1:]), members=False) is not None:
        return ""
    fair = [baseline.name for baseline in fair_baselines(models[0], members=False)]
    return next((name for name in fair if name in usable), "")
