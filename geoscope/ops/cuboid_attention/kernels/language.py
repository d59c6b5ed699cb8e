"""Triton, imported in one place: an optional dependency, which the type checker need not find.

Whether its kernels are compiled or interpreted is decided here, by TRITON_INTERPRET, when it is first imported.
"""

from importlib import import_module
from typing import Any

triton: Any = import_module("triton")
tl: Any = import_module("triton.language")
