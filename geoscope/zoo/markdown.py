"""A model card as Markdown: for the command line, the page and the repository's readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoscope.zoo.cards import ModelCard


def render(card: ModelCard) -> str:
    """The whole card; parts that the card leaves out do not appear."""
    parts = [f"# {card.title}", card.summary]
    parts += _table(("", ""), _facts(card))
    parts += _section("Scores", [*_scores(card.scores), card.scores_note])
    parts += _section("Limits", [_bullets(card.limits)])
    parts += _section("Input and output", _table(("", "input", "output"), _doors(card)))
    parts += _section("Training", _training(card))
    parts += _section("Weights", _table(("", ""), _weights(card)))
    parts += _section("References", [_bullets(card.references)])
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(card: ModelCard) -> list[tuple[str, ...]]:
    rows = [("name", f"`{card.name}`"), ("task", card.task), ("kind", card.kind)]
    rows.append(("architecture", card.architecture))
    rows.append(("parameters", f"{card.parameters:,}" if card.parameters else ""))
    rows.append(("forecast type", card.forecast_type))
    rows.append(("fair to compare with", ", ".join(card.fair_against)))
    rows.append(("licence", card.licence))
    return [row for row in rows if row[1]]


def _doors(card: ModelCard) -> list[tuple[str, ...]]:
    given, made = card.input, card.output
    rows: list[tuple[str, str, str]] = []

    def add(label: str, left: Any, right: Any = None) -> None:
        if left or right:
            rows.append((label, _show(left), _show(right)))

    if given is not None:
        add("quantity", given.quantity, made.quantity if made else None)
        add("units", given.units, made.units if made else None)
        add("layout", given.layout, made.layout if made else None)
        add("frames", given.history_frames, made.lead_frames if made else None)
        add("least frames", given.min_frames)
        add("minutes between frames", given.interval_minutes)
        add("pixel, km", given.pixel_km)
        add("grid, pixels a side", given.grid)
    if made is not None:
        add("furthest lead, minutes", None, made.max_lead_minutes)
        add("furthest lead, frames", None, made.max_lead_steps)
    return rows


def _training(card: ModelCard) -> list[str]:
    training = card.training
    if training is None:
        return []
    rows = [
        ("split", training.split),
        ("seed", _show(training.seed)),
        ("date", _show(training.date)),
        ("duration", "" if training.duration_minutes is None else f"{training.duration_minutes:g} minutes"),
        ("hardware", training.hardware),
    ]
    sources = "Data:\n\n" + _bullets(training.data) if training.data else ""
    command = f"```sh\n{training.command}\n```" if training.command else ""
    return [command, *_table(("", ""), [row for row in rows if row[1]]), sources, training.note]


def _weights(card: ModelCard) -> list[tuple[str, ...]]:
    weights = card.weights
    if weights is None:
        return []
    rows = [
        ("file", weights.file),
        ("url", weights.url),
        *((part.name, f"{part.parameters:,} parameters, {part.file}, {part.url}") for part in weights.parts),
        ("size", "" if weights.bytes is None else f"{weights.bytes:,} bytes"),
        ("format", weights.format),
        ("sha256", weights.sha256 or "none published; recorded at the first fetch and checked from then on"),
        ("note", weights.note),
        ("no more there", weights.gone),
    ]
    if card.self_check is not None:
        rows.append(("self-check", f"stored answer, largest difference {card.self_check.tolerance:g}"))
    return [row for row in rows if row[1]]


def _scores(rows: tuple[dict[str, Any], ...]) -> list[str]:
    """One Markdown table for each value of the key `table`, columns in the order they first appear."""
    parts = []
    for title in dict.fromkeys(row.get("table", "") for row in rows):
        members = [row for row in rows if row.get("table", "") == title]
        columns = list(dict.fromkeys(key for row in members for key in row if key != "table"))
        cells = [tuple(_show(row.get(column)) for column in columns) for row in members]
        parts.append(title)
        parts += _table(tuple(column.replace("_", " ") for column in columns), cells)
    return parts


def _section(title: str, parts: list[str]) -> list[str]:
    parts = [part for part in parts if part]
    return [f"## {title}", *parts] if parts else []


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = [heading, ("---",) * len(heading), *rows]
    return ["\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _bullets(items: tuple[str, ...]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _show(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        return " to ".join(f"{item:g}" for item in dict.fromkeys(value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
