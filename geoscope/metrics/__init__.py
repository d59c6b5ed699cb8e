"""Scores that accumulate and merge: counts and sums first, formulas last.

The names below are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "Verification": "geoscope.metrics.accumulate",
    "nino34_skill": "geoscope.metrics.nino",
    "sevir_scores": "geoscope.metrics.sevir",
}

__all__ = ["Verification", "nino34_skill", "sevir_scores"]

if TYPE_CHECKING:
    from geoscope.metrics.accumulate import Verification as Verification
    from geoscope.metrics.nino import nino34_skill as nino34_skill
    from geoscope.metrics.sevir import sevir_scores as sevir_scores


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'geoscope.metrics' has no attribute {name!r}")
