"""How long a run will take and how much memory, from one step that changes nothing."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from geoscope.training.engine.settings import Settings
from geoscope.training.engine.task import Task

GIGABYTE = 1 << 30


@dataclass(frozen=True)
class Cost:
    """One micro-batch: seconds to prepare it and to learn from it, and the largest memory meanwhile in bytes."""

    prepare_seconds: float
    learn_seconds: float
    peak_bytes: int | None

    def seconds_a_step(self, settings: Settings) -> float:
        """Of an update: workers prepare while the network learns."""
        if settings.workers:
            return settings.accumulate * max(self.learn_seconds, self.prepare_seconds / settings.workers)
        return settings.accumulate * (self.learn_seconds + self.prepare_seconds)


@dataclass(frozen=True)
class Estimate:
    """What is to be said before a run begins."""

    cost: Cost
    seconds_a_step: float
    steps_left: int | None
    minutes_left: float | None
    parameters: int

    def sentence(self) -> str:
        """One line."""
        speed = f"{self.seconds_a_step:.2g} s a step"
        spans = []
        if self.steps_left is not None:
            spans.append(f"{self.steps_left} steps in {spell(self.steps_left * self.seconds_a_step)}")
        if self.minutes_left is not None:
            affordable = int(self.minutes_left * 60 / max(self.seconds_a_step, 1e-9))
            spans.append(f"at most {spell(self.minutes_left * 60)}, about {affordable} steps")
        memory = ""
        if self.cost.peak_bytes is not None:
            memory = f"; {self.cost.peak_bytes / GIGABYTE:.1f} GB at the peak"
            free = free_bytes()
            if free is not None and self.cost.peak_bytes > free:
                memory += f", more than the {free / GIGABYTE:.1f} GB that are free: lower micro_batch or set recompute"
        return f"{self.parameters / 1e6:.2f} M parameters, {speed}: {', '.join(spans)}{memory}"


def probe(task: Task, network: nn.Module, index: int, device: torch.device) -> Cost:
    """Prepare batch ``index`` and run it forth and back; weights and buffers of ``network`` stay as they are."""
    started = time.perf_counter()
    batch = task.batch(index)
    prepared = time.perf_counter() - started
    batch = {name: value.to(device) for name, value in batch.items()}
    kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times: list[float] = []
    while not times or (len(times) < 2 and times[0] < 2.0):  # the first pass also pays for what is done once
        started = time.perf_counter()
        task.loss(network, batch).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
        for parameter in network.parameters():
            parameter.grad = None
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.copy_(kept[name])
    peak = _peak_bytes(device)
    moments = sum(
        2 * p.numel() * p.element_size() for p in network.parameters()
    )  # AdamW keeps two numbers each
    return Cost(prepared, min(times), None if peak is None else peak + moments)


def _peak_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_bytes() -> int | None:
    """Main memory that a program can still have, with what this one has; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        own = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    wanted = [line for line in lines if line.startswith("MemAvailable:")]
    wanted += [line for line in own if line.startswith("VmRSS:")]
    return sum(int(line.split()[1]) * 1024 for line in wanted)


def spell(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
