"""What is not code ships too: samples, cards, weights and their self-checks are in the wheel."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The files in a wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("folder", ["data/shipped", "training/recipes", "zoo/cards", "zoo/weights"])
def test_what_ships_is_in_the_wheel(names, folder):
    shipped = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "geoscope" / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".part", ".pyc")
    ]
    assert set(shipped) <= names


def test_the_wheel_has_the_sample_and_the_cards_by_name(names):
    assert "geoscope/data/shipped/florence-2018.nc" in names
    assert "geoscope/zoo/cards/persistence.toml" in names


def test_the_wheel_has_no_tests_and_no_caches(names):
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


def test_the_apps_are_in_the_wheel_where_serve_looks_for_them(names):
    apps = {path.name for path in (ROOT / "apps").glob("*.py")}
    assert apps
    assert {f"geoscope/_apps/{app}" for app in apps} <= names
