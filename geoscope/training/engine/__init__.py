"""The training engine: one loop for every task, on PyTorch Lightning, that survives a kill at any moment.

`Task` is what is trained, `Settings` how, `fit` does it. Lightning is imported when a run begins.
"""

from geoscope.training.engine.run import fit
from geoscope.training.engine.settings import Settings, learning_rate
from geoscope.training.engine.task import Batch, Progress, Task

__all__ = ["Batch", "Progress", "Settings", "Task", "fit", "learning_rate"]
