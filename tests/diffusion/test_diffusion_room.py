"""The room knows no network: it stands on torch and on the library's errors alone."""

import ast
from pathlib import Path

import geoscope.diffusion

ALLOWED = {"collections", "dataclasses", "functools", "hashlib", "itertools", "math", "torch", "typing"}


def test_diffusion_stands_on_torch_alone():
    for path in Path(geoscope.diffusion.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                own = module == "geoscope.errors" or module.startswith("geoscope.diffusion.")
                assert own or module.split(".")[0] in ALLOWED, f"{path.name} imports {module}"
