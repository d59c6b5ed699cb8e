"""Which baseline it is fair to hold a forecast against, and why.

A forecast that minimises an error is smooth: it gives up the small scales that nobody can foretell. Held against raw
extrapolation, which keeps them at the wrong place, it wins on error by smoothness alone. A generative forecast shows
one of the fields that may come true, sharp and likely off: held against a smooth one it loses by sharpness alone. So
each is held against baselines of its own type first; what else is compared says little about skill.
"""

from dataclasses import dataclass

from geoscope.zoo.cards import ModelCard, card, list_models

# For each type of forecast the baselines of the same type, best first, and why they are fair.
_FAIR: dict[str, tuple[tuple[str, ...], str]] = {
    "carried": (
        ("pysteps-extrapolation", "extrapolation", "persistence"),
        "each shows observed rain, unchanged or moved: they differ in where it goes, not in how smooth it is",
    ),
    "error-minimising": (
        ("pysteps-sprog", "pysteps-anvil", "pysteps-steps"),
        "each smooths away what cannot be foretold to keep the error small: they differ in skill, not in sharpness",
    ),
    "generative": (
        ("pysteps-steps", "pysteps-linda"),
        "each draws fields that may come true, as sharp as rain: compare members with members by ensemble scores",
    ),
}
_BY_MEAN = "its single field is the mean of its members, which is smooth as an error-minimising forecast is"
_BY_MEMBERS = "its members are draws, to be compared with members"


@dataclass(frozen=True)
class FairBaseline:
    """One baseline that it is fair to compare with, and the reason in half a sentence."""

    name: str
    reason: str


def fair_baselines(model: ModelCard | str, *, members: bool | None = None) -> list[FairBaseline]:
    """The baselines that ``model``, a card or a name, may fairly be compared with, the fairest first; with reasons.

    ``members`` says what of an ensemble is compared: True its members, so that any model counts as generative; False
    its single field, which is their mean, so that a generative model counts as error-minimising; None goes by the
    card. The names come from the card's `fair_against` where it has any, else from its `forecast_type`; the
    model itself and names without a card for the task are left out. Empty for a card without a forecast type.

    Raises:
        ConfigError: no model of that name.
    """
    one = card(model) if isinstance(model, str) else model
    kind = _kind(one, members)
    if kind not in _FAIR:
        return []
    names, reason = _FAIR[kind]
    if one.fair_against and kind == one.forecast_type:
        names = one.fair_against
    cards = {other.name: other for other in list_models() if other.task == one.task}
    others = [cards[name] for name in names if name in cards and name != one.name]
    return [FairBaseline(other.name, _reason(kind, other, reason)) for other in others]


def _kind(one: ModelCard, members: bool | None) -> str:
    if members:
        return "generative"
    return "error-minimising" if members is False and one.forecast_type == "generative" else one.forecast_type


def _reason(kind: str, other: ModelCard, reason: str) -> str:
    if kind == "error-minimising" and other.forecast_type == "generative":
        return _BY_MEAN
    if kind == "generative" and other.forecast_type != "generative":
        return _BY_MEMBERS
    return reason


def fairest_of(
    model: ModelCard | str, names: list[str], *, members: bool | None = None
) -> FairBaseline | None:
    """Of the models in ``names`` the one that it is fairest to compare ``model`` with; None when there is none."""
    for baseline in fair_baselines(model, members=members):
        if baseline.name in names:
            return baseline
    return None


def explain(model: ModelCard | str, *, members: bool | None = None) -> str:
    """The rule for one model in one sentence with the models' titles, for a page; empty where no rule applies."""
    one = card(model) if isinstance(model, str) else model
    fair = fair_baselines(one, members=members)
    if not fair:
        return ""
    kind = _kind(one, members)
    a = "an" if kind[0] in "aeiou" else "a"
    names = [_compared_as(card(baseline.name), kind) for baseline in fair]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    subject = _compared_as(one, kind, the="The")
    return f"{subject} is {a} {kind} forecast, fairly compared with {listed}: {fair[0].reason}."


def _compared_as(one: ModelCard, kind: str, the: str = "the") -> str:
    """A model's title; where a generative one is compared by its single field, what that field is."""
    is_mean = one.forecast_type == "generative" and kind == "error-minimising"
    return f"{the} mean of {one.title}" if is_mean else one.title
