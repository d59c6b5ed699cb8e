"""geoscope: look at the Earth with space-time transformers.

    import geoscope as gs
    rain = gs.sample("florence-2018")
    forecast = gs.nowcast(rain, model="earthformer-nowcast", lead_steps=3)

The names below are imported when they are first used, so that `import geoscope` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "open_radar": "geoscope.data.radar",
    "sample": "geoscope.data.samples",
    "list_samples": "geoscope.data.samples",
    "list_models": "geoscope.zoo.cards",
    "load_model": "geoscope.inference.loading",
    "nowcast": "geoscope.inference.nowcast",
    "scenarios": "geoscope.inference.scenarios",
    "verify": "geoscope.metrics.verification",
}

__all__ = [
    "__version__",
    "list_models",
    "list_samples",
    "load_model",
    "nowcast",
    "open_radar",
    "sample",
    "scenarios",
    "verify",
]

if TYPE_CHECKING:
    from geoscope.data.radar import open_radar as open_radar
    from geoscope.data.samples import list_samples as list_samples
    from geoscope.data.samples import sample as sample
    from geoscope.inference.loading import load_model as load_model
    from geoscope.inference.nowcast import nowcast as nowcast
    from geoscope.inference.scenarios import scenarios as scenarios
    from geoscope.metrics.verification import verify as verify
    from geoscope.zoo.cards import list_models as list_models


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'geoscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *globals()])
