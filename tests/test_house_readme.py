"""What the README shows runs, and its tables are the cards'."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def make_tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "docs" / "make_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_five_lines_run(capsys):
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["forecast"].sizes["time"] == 3
    assert "threshold" in capsys.readouterr().out


def test_the_tables_are_those_of_the_cards(make_tables):
    assert make_tables.rewritten(README) == README, "run python docs/make_tables.py"


def test_every_block_is_found(make_tables):
    names = [match["name"] for match in make_tables.BLOCK.finditer(README)]
    assert sorted(names) == sorted(make_tables.WRITERS)


def test_a_stale_block_is_rewritten(make_tables, monkeypatch):
    monkeypatch.setitem(make_tables.WRITERS, "models", lambda: "| new |")
    begin, end = "<!-- begin models: written by python docs/make_tables.py -->", "<!-- end models -->"
    text = f"before\n{begin}\nold\n{end}\nafter"
    assert make_tables.rewritten(text) == text.replace("\nold\n", "\n\n| new |\n\n")


def test_the_commands_of_the_readme_exist():
    from typer.main import get_command

    from geoscope.cli import app

    known = set(get_command(app).commands)
    shown = set(re.findall(r"^    geoscope (\w+)", README, re.MULTILINE))
    assert shown == known


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_what_a_page_links_to_is_there(name):
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
