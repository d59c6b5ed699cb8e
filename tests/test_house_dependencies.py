"""pyproject.toml, environment.yml, constraints.txt and the imports name the same packages."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
USED = [*CORE, *(Requirement(line) for name, lines in EXTRAS.items() if name != "dev" for line in lines)]
DEV = [Requirement(line) for line in EXTRAS["dev"]]

CONDA_NAME = {"torch": "pytorch", "opencv-python-headless": "opencv"}
MODULE_NAME = {
    "pillow": "PIL",
    "opencv-python-headless": "cv2",
    "scikit-image": "skimage",
    "panel-material-ui": "panel_material_ui",
    "imageio-ffmpeg": "imageio_ffmpeg",
}


def pins() -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    found = {}
    for line in filter(None, lines):
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!]+)", line)
        assert match, f"constraints.txt: {line!r} is not an exact pin"
        found[canonicalize_name(match[1])] = match[2]
    return found


def test_the_extras_have_their_fixed_names():
    assert set(EXTRAS) == {"apps", "train", "diffusion", "radar", "scale", "hub", "dev"}


def test_conda_installs_the_same_packages():
    text = (ROOT / "environment.yml").read_text()
    listed = {
        match[1]: match[2] for match in re.finditer(r"^  - ([a-z0-9-]+)([<>=][^\s]*)?$", text, re.MULTILINE)
    }
    listed = {name: {part for part in (bounds or "").split(",") if part} for name, bounds in listed.items()}
    assert listed.pop("python") == {PROJECT["requires-python"]}
    assert listed.pop("pip") == set()
    listed.pop("conda-forge", None)
    assert listed == {CONDA_NAME.get(r.name, r.name): {str(s) for s in r.specifier} for r in USED}


@pytest.mark.parametrize("requirement", [*USED, *DEV], ids=lambda requirement: requirement.name)
def test_ci_pins_every_package_within_its_bounds(requirement):
    version = pins().get(canonicalize_name(requirement.name))
    assert version is not None, f"constraints.txt has no pin for {requirement.name}"
    assert requirement.specifier.contains(version)


def test_ci_has_torch_for_the_cpu_only():
    assert pins()["torch"] == "2.13.0"
    assert not [name for name in pins() if name.startswith(("nvidia", "cuda"))]


def third_party_imports() -> dict[str, Path]:
    found = {}
    for folder in ("geoscope", "apps"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                found |= {name.split(".")[0]: path.relative_to(ROOT) for name in names}
    return {name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, "geoscope"}}


def test_every_import_is_declared():
    declared = {MODULE_NAME.get(r.name, r.name.replace("-", "_")) for r in USED}
    undeclared = {name: str(path) for name, path in third_party_imports().items() if name not in declared}
    assert undeclared == {}


def test_every_declared_package_is_used():
    text = "\n".join(path.read_text() for path in (ROOT / "geoscope").rglob("*.py"))
    idle = [
        r.name
        for r in USED
        if not re.search(rf"\b{MODULE_NAME.get(r.name, r.name.replace('-', '_'))}\b", text)
    ]
    assert idle == []
