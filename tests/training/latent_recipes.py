"""Recipes of a few seconds for PreDiff's three networks, on moving digits."""

import pytest
import torch
from safetensors.torch import load_file

from geoscope.training import tasks
from geoscope.training.engine import checkpoints

HEAD = """
steps = {steps}
batch = 4
micro_batch = 2
threads = 1
workers = 0
log_every = 1
save_every = 1
validate_every = 4
pictures = {pictures}
estimate = false
learning_rate = 3e-3
warmup = 2
ema = 0.5
"""
DIGITS = (
    '[data]\nkind = "{kind}"\ncount = 8\nvalidation_count = 4\nin_frames = 2\nout_frames = 2\nsize = 32\n'
)
AUTOENCODER = "[model]\nwidths = [8, 8, 8]\nblocks = 1\ngroups = 4\nlatent_channels = 2\n"
BODY = "[model]\nbase_width = 8\nheads = 2\ndepth = [1, 1]\ntime_width = 2\n"


def train(task, folder, text, *, steps=4, kind="moving-mnist", more="", out="out", pictures=False):
    """Run a task to its end; gives the folder of the run."""
    path = folder / f"{task}.toml"
    path.write_text(
        HEAD.format(steps=steps, pictures=str(pictures).lower()) + text + DIGITS.format(kind=kind) + more
    )
    tasks.TASKS[task](path, folder / out, lambda stage, share: None)
    return folder / out


def stopped_and_whole(task, folder, text, monkeypatch):
    """The final weights of a run of four steps, and those of one that was stopped after the second and went on."""
    whole = train(task, folder, text, out="whole")
    save = checkpoints.save

    def stop_at_two(place, state):
        save(place, state)
        if state["step"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        train(task, folder, text, out="parts")
    monkeypatch.setattr(checkpoints, "save", save)
    parts = train(task, folder, text, out="parts")
    return load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")


def losses_on_one_batch(task, steps, rate=3e-3):
    """The losses of a network that sees one batch again and again, with the same noise, outside the engine."""
    torch.manual_seed(0)
    network, batch = task.network(), task.batch(0)
    optimizer = torch.optim.AdamW(task.parameter_groups(network, 0.0), lr=rate)
    losses = []
    for _ in range(steps):
        torch.manual_seed(1)
        loss = task.loss(network, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
