"""The house rules that a machine can keep: which room may import which, what a tracked file may not hold."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import geoscope as gs

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "geoscope"

# A module may import rooms of a lower rank, and its own room. A new room gets its line here.
RANK = {
    "errors": 0,
    "grids": 1,
    "reprojection": 2,
    "ops": 3,
    "nn": 4, "diffusion": 4, "metrics": 4, "data": 4,
    "zoo": 5,
    "models": 6,
    "training": 7, "inference": 7,
    "viz": 8,
    "ui": 9,
    "cli": 10,
    "__main__": 11,
}  # fmt: skip

FACE = {
    "open_radar": ["path_or_paths", "variable"],
    "sample": ["name"],
    "list_samples": [],
    "load_model": ["name", "device"],
    "list_models": [],
    "nowcast": ["rain", "model", "issue_time", "lead_steps"],
    "scenarios": ["rain", "sigmas", "members", "steps", "seed", "model"],
    "verify": ["forecast", "observed"],
}

SKIPPED_FOLDERS = {"__pycache__", "node_modules", "dist", "build", "runs"}


def files(*suffixes: str) -> Iterator[Path]:
    """The files of the repository that people read, without what tools put there."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        is_hidden = any(part.startswith(".") and part != ".ci" for part in parts[:-1])
        if is_hidden or SKIPPED_FOLDERS & set(parts) or not path.is_file():
            continue
        if path.suffix in suffixes or (not path.suffix and path.name in ("Makefile", "run")):
            yield path


def python_files(folder: Path = ROOT) -> list[Path]:
    return [path for path in files(".py") if path.suffix == ".py" and path.is_relative_to(folder)]


def imported_rooms(tree: ast.AST) -> set[str]:
    """The rooms of geoscope that a module imports, also through the names of `import geoscope as gs`."""
    rooms, faces = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                head, _, rest = alias.name.partition(".")
                if head == "geoscope" and rest:
                    rooms.add(rest.split(".")[0])
                elif head == "geoscope":
                    faces.add(alias.asname or "geoscope")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            head, _, rest = (node.module or "").partition(".")
            if head == "geoscope":
                rooms |= {rest.split(".")[0]} if rest else {home_of(alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in faces:
            rooms.add(home_of(node.attr))
    return rooms - {""}


def home_of(name: str) -> str:
    """The room behind a name of the package's face; a room is its own, `__version__` has none."""
    if name.startswith("__"):
        return ""
    return gs._HOME[name].split(".")[1] if name in gs._HOME else name


@pytest.mark.parametrize("path", python_files(PACKAGE), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_point_down(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":  # the face imports lazily, by name
        return
    assert own in RANK, f"room {own} has no rank: give it one in this test and in ARCHITECTURE.md"
    for other in imported_rooms(ast.parse(path.read_text())) - {own}:
        assert RANK[other] < RANK[own], f"{path.relative_to(ROOT)} must not import geoscope.{other}"


@pytest.mark.parametrize(
    ("code", "rooms"),
    [
        ("from geoscope.data.radar import open_radar", {"data"}),
        ("from geoscope import grids", {"grids"}),
        ("import geoscope as gs\ngs.nowcast(gs.sample('x'))", {"inference", "data"}),
        ("import geoscope\ngeoscope.__version__", set()),
        ("import numpy, geoscope.viz.colours", {"viz"}),
    ],
)
def test_the_rooms_a_module_imports_are_found(code, rooms):
    assert imported_rooms(ast.parse(code)) == rooms


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_importing_geoscope_loads_nothing_heavy():
    assert not modules_after("import geoscope") & {"torch", "xarray", "numpy", "pandas", "panel", "rasterio"}


def test_the_command_line_answers_without_torch():
    assert not modules_after("import geoscope.cli") & {"torch", "xarray", "numpy", "panel"}


def test_reading_data_needs_no_torch():
    names = [module_name(path) for path in python_files(PACKAGE / "data")]
    assert "torch" not in modules_after("\n".join(f"import {name}" for name in names if "make_" not in name))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize(("name", "arguments"), FACE.items())
def test_the_fixed_names_stand_on_the_face(name, arguments):
    assert name in dir(gs)
    assert name in gs.__all__
    assert list(inspect.signature(getattr(gs, name)).parameters)[: len(arguments)] == arguments


def test_the_face_is_the_names_it_knows_a_home_for():
    assert sorted(gs.__all__) == sorted([*gs._HOME, "__version__"])


def test_published_earthformers_have_their_door():
    door = import_module("geoscope.models.earthformer.checkpoints").from_published
    assert list(inspect.signature(door).parameters)[:2] == ["kwargs", "state_dict"]


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nowcats'"):
        _ = gs.nowcats


def test_no_file_names_a_folder_of_one_machine():
    of_a_machine = re.compile(r"(?<![\w.])/(?:work|farm|root|tmp/v|home/\w+)/")
    found = []
    for path in files(".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".cff", ".svg", ".ipynb"):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in of_a_machine.finditer(text)]
    assert not found


def test_weights_are_never_unpickled():
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("weights_only") == "True"
                assert safe, f"{path.relative_to(ROOT)}:{node.lineno}: torch.load without weights_only=True"


def test_nothing_is_left_to_do():
    unfinished = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b|raise NotImplemented" r"Error")
    for path in python_files():
        match = unfinished.search(path.read_text(encoding="utf-8"))
        assert match is None, f"{path.relative_to(ROOT)}: {match}"


def test_a_file_holds_one_idea():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > 500} == {}


def test_an_app_is_short():
    for path in (ROOT / "apps").glob("*.py"):
        assert len(path.read_text().splitlines()) < 60


@pytest.mark.parametrize("target", ["app", "test", "check"])
def test_make_installs_with_the_pins_and_then_runs(target):
    command = ["make", "--dry-run", "--always-make", target, "PORT=7654", "VENV=elsewhere"]
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"elsewhere/bin/python -m pip install .*--constraint constraints\.txt", plan)
    expected = {
        "app": "geoscope serve nowcast --port 7654",
        "test": "-m pytest",
        "check": "ruff format --check",
    }
    assert expected[target] in plan


def test_ci_runs_the_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()
    assert "\nmake test\n" in script.read_text()
    assert "make test" in (ROOT / "README.md").read_text()
