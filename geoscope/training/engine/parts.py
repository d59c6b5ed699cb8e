"""Small parts of the loop: batches by number, the moving average of the weights, and the log."""

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from geoscope.training.engine.task import Batch

MANY = 10**12


class Numbered(Dataset[Batch]):
    """Batches by their number."""

    def __init__(self, make: Callable[[int], Batch]) -> None:
        self.make = make

    def __getitem__(self, index: int) -> Batch:
        return self.make(index)


class Numbers(Sampler[int]):
    """Numbers from ``first`` on, ``stride`` apart, ``count`` of them."""

    def __init__(self, first: int, stride: int, count: int) -> None:
        self.numbers = range(first, first + stride * count, stride)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def loader(make: Callable[[int], Batch], numbers: Numbers, workers: int, pin: bool) -> DataLoader[Batch]:
    """The batches of ``numbers`` in their order, prepared by ``workers`` processes (0: in this one)."""
    return DataLoader(Numbered(make), batch_size=None, sampler=numbers, num_workers=workers, pin_memory=pin)


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Draw the parameters of ``average`` towards those of ``network``; buffers are taken as they are."""
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - keep)
    for old, new in zip(average.buffers(), network.buffers(), strict=True):
        old.copy_(new)


def gradients_by_part(groups: list[dict[str, Any]]) -> list[list[nn.Parameter]]:
    """The parameters with gradients, in a list for each ``part`` that the optimizer's groups name (one for none)."""
    parts: dict[str, list[nn.Parameter]] = {}
    for group in groups:
        parts.setdefault(group.get("part", ""), []).extend(p for p in group["params"] if p.grad is not None)
    return [part for part in parts.values() if part]


def gradient_norm(parameters: list[nn.Parameter]) -> Tensor:
    """The norm of all their gradients together."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def add_sums(into: dict[str, Tensor], more: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sums by name, added; on the CPU, floating ones in float64."""
    total = dict(into)
    for name, value in more.items():
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value
        total[name] = total[name] + value if name in total else value
    return total


class Log:
    """Rows of numbers in a CSV file. A run that goes on from a step forgets the rows after it."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.columns: list[str] = []
        if not path.exists():
            return
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.reader(stream) if row]
        if rows:
            self.columns = rows[0]
            kept = [row for row in rows[1:] if row[0].isdigit() and int(row[0]) <= step]
            self._rewrite([self.columns, *kept])

    def write(self, row: dict[str, float]) -> None:
        """Append one row; its first column is the step. A column that was not there before is added for all."""
        if set(row) - set(self.columns):
            rows: list[list[Any]] = []
            if self.path.exists():
                with self.path.open(newline="", encoding="utf-8") as stream:
                    rows = list(csv.reader(stream))[1:]
            self.columns += [name for name in row if name not in self.columns]
            self._rewrite([self.columns, *rows])
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow([_short(row.get(name, "")) for name in self.columns])

    def _rewrite(self, rows: list[list[Any]]) -> None:
        beside = self.path.with_name(self.path.name + ".part")
        with beside.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)
        os.replace(beside, self.path)


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
