"""A task of the engine that takes milliseconds: a small network with dropout learns a sum."""

import numpy as np
import torch
from torch import nn

from geoscope.training.engine import Task


class TinyTask(Task):
    """The sum of four numbers. ``broken_at`` is the batch whose target is not a number."""

    name = "tiny"
    monitor = "error"
    direction = "min"

    def __init__(self, settings, *, validation=0, examples=None, broken_at=None, dropout=0.2, picture=False):
        self.settings, self.validation_batches, self.examples = settings, validation, examples
        self.broken_at, self.dropout, self.has_picture = broken_at, dropout, picture

    def network(self):
        return nn.Sequential(
            nn.ModuleList([nn.Linear(4, 8)])[0], nn.GELU(), nn.Dropout(self.dropout), nn.Linear(8, 1)
        )

    def batch(self, index):
        random = np.random.default_rng((self.settings.seed, index))
        x = torch.from_numpy(random.standard_normal((self.settings.micro, 4)).astype(np.float32))
        target = x.sum(dim=1, keepdim=True)
        return {"x": x, "target": target * torch.nan if index == self.broken_at else target}

    def loss(self, network, batch):
        return (network(batch["x"]).float() - batch["target"]).square().mean()

    def validation_batch(self, index):
        return self.batch(10_000 + index)

    def validate(self, network, batch):
        error = network(batch["x"]).float() - batch["target"]
        return {"square": error.square().sum(), "count": torch.tensor(error.numel())}

    def scores(self, sums):
        return {"error": float(sums["square"] / sums["count"]), "count": float(sums["count"])}

    def picture(self, network):
        return np.full((4, 6, 3), 200, dtype=np.uint8) if self.has_picture else None

    def finish(self, network, out, progress):
        progress("finishing", 1.0)
        torch.save(network.state_dict(), out / "weights.pt")
        return out / "weights.pt"


def weights(path):
    return torch.load(path, weights_only=True)
