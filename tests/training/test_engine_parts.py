"""What PreDiff's training asked of the engine: a schedule that does not begin at zero, and parts clipped apart."""

import numpy as np
import pytest
import torch
from torch import nn

from geoscope.errors import ConfigError
from geoscope.training.engine import Settings, fit, learning_rate
from geoscope.training.engine.loop import Training
from geoscope.training.engine.parts import gradient_norm, gradients_by_part
from tests.training.tiny_task import TinyTask


def test_the_schedule_of_prediff_is_the_published_one(shared):
    table = torch.load(shared / "oracle/prediff/metrics.pt", weights_only=True)["lr_schedule"]
    settings = Settings(
        steps=table["total"],
        learning_rate=table["base_lr"],
        warmup=table["warmup"] / table["total"],
        start=table["warmup_min_ratio"],
        floor=table["min_lr_ratio"],
    )
    rates = [learning_rate(settings, step, table["total"]) for step in range(len(table["lrs"]))]
    np.testing.assert_allclose(rates, table["lrs"], rtol=1e-9)


@pytest.mark.parametrize("name", ["start", "floor"])
def test_a_rate_that_is_no_share_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name}=1.5 must be a share of the highest rate"):
        Settings(steps=1, **{name: 1.5})


def parameter(*gradient):
    one = nn.Parameter(torch.zeros(len(gradient)))
    one.grad = torch.tensor(gradient)
    return one


def test_parts_by_hand():
    first, second, third = parameter(3.0, 4.0), parameter(12.0), parameter(6.0, 8.0)
    without = nn.Parameter(torch.zeros(1))
    groups = [
        {"params": [first, without]},
        {"params": [third], "part": "critic"},
        {"params": [second]},
        {"params": [without], "part": "idle"},
    ]
    parts = gradients_by_part(groups)
    assert [len(part) for part in parts] == [2, 1]
    assert [gradient_norm(part).item() for part in parts] == [13.0, 10.0]


class Apart(TinyTask):
    """The last layer is a part of its own; losses large enough to be clipped."""

    def parameter_groups(self, network, weight_decay):
        layers = [layer for layer in network if list(layer.parameters())]
        return [
            {"params": list(layer.parameters()), "part": name}
            for layer, name in zip(layers, "ab", strict=True)
        ]

    def loss(self, network, batch):
        return 1e3 * super().loss(network, batch)


def test_the_loop_clips_each_part_to_its_own_norm(tmp_path, monkeypatch):
    seen = []
    clip = Training.configure_gradient_clipping

    def look(self, optimizer, *args, **options):
        clip(self, optimizer, *args, **options)
        seen.append([gradient_norm(part).item() for part in gradients_by_part(optimizer.param_groups)])

    monkeypatch.setattr(Training, "configure_gradient_clipping", look)
    settings = Settings(steps=2, batch=4, workers=0, clip=0.5, estimate=False, threads=1)
    fit(Apart(settings), settings, tmp_path, lambda stage, share: None)
    np.testing.assert_allclose(seen, 0.5, rtol=1e-4)
