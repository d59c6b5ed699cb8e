"""Write the tables of README.md from the model cards, so that no figure in it is typed by hand.

python docs/make_tables.py           rewrites the blocks between the markers
python docs/make_tables.py --check   changes nothing; exit code 1 when a block is not what the cards say
"""

import re
import sys
from pathlib import Path

import geoscope as gs
from geoscope.zoo.cards import ModelCard

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(
    r"(<!-- begin (?P<name>[a-z]+): written by python docs/make_tables\.py -->\n).*?(<!-- end (?P=name) -->)",
    re.DOTALL,
)


def models_table() -> str:
    """One row for each model: name, what kind, how many parameters, what it is."""
    lines = ["| model | kind | parameters | what it is |", "| --- | --- | ---: | --- |"]
    for card in gs.list_models():
        parameters = f"{card.parameters:,}" if card.parameters else "-"
        lines.append(f"| `{card.name}` | {card.kind} | {parameters} | {card.summary} |")
    return "\n".join(lines)


def score_tables() -> str:
    """Scores, limits and the command that trains it, for each model whose weights ship."""
    parts = []
    for card in gs.list_models():
        if card.kind == "learned":
            parts.append(f"### {card.title} (`{card.name}`)")
            parts += [text for heading in ("Scores", "Limits") if (text := section(card, heading))]
            if card.training is not None and card.training.command:
                parts.append(f"Trained with:\n\n```sh\n{card.training.command}\n```")
    return "\n\n".join(parts) or "No trained weights ship yet."


def section(card: ModelCard, heading: str) -> str:
    """The section of the card's page under ``heading``, one level down; empty when there is none."""
    match = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", card.to_markdown(), re.DOTALL | re.MULTILINE)
    return f"#### {heading}\n\n{match[1].strip()}" if match else ""


WRITERS = {"models": models_table, "scores": score_tables}


def rewritten(text: str) -> str:
    """``text`` with every block as the cards say now; an unknown block is a KeyError."""
    return BLOCK.sub(lambda match: f"{match[1]}\n{WRITERS[match['name']]()}\n\n{match[3]}", text)


def main() -> int:
    """Rewrite README.md, or check it."""
    before = README.read_text(encoding="utf-8")
    after = rewritten(before)
    if "--check" in sys.argv[1:]:
        print(
            "README.md is in step with the cards"
            if after == before
            else "README.md is not: run without --check"
        )
        return int(after != before)
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
