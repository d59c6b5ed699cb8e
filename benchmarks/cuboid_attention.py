"""Time of one cuboid attention by each implementation, as ratios to the reference within the same run.

    python benchmarks/cuboid_attention.py [--backward] [--work sevir] [--dtype float32] [--repeats 11] [--json FILE]

Every implementation is first compared with the reference in float64; one that errs more than the reference in the same
type allows is named, and nothing is timed (exit code 1). The implementations then take turns, so that whatever else
runs on the machine meets all of them alike. "spread" is the range of the middle half of the repeats, "of reference" the
median over the turns of time over the reference's time in the same turn. On a GPU the table adds the kernels and the
other ways of PyTorch, and the share of the memory bandwidth of a large copy that moving inputs and outputs once would
take; without one those rows say "not measured here".
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention import Cuboids, ExtraKeys, cuboid_attention
from geoscope.ops.cuboid_attention.cuboids import cut, join
from geoscope.ops.cuboid_attention.masks import attention_mask

GPU_ROWS = ("triton", "reordered sdpa", "compiled reference", "flex attention")


@dataclass(frozen=True)
class Work:
    """One attention of a model: volume (T, H, W), cuboids, heads, channels of a head, batch and extra keys."""

    shape: tuple[int, int, int]
    cuboids: Cuboids
    heads: int
    width: int
    batch: int = 1
    extra: int = 0
    only_on_gpu: bool = False

    def tensors(self, dtype: torch.dtype, device: str, *, learns: bool) -> dict[str, Tensor]:
        """Query, key and value as the parts of one projection, a bias, and extra keys with their queries."""
        seeded = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=seeded).to(device, dtype)

        packed = normal(self.batch, *self.shape, 3 * self.heads * self.width)
        parts = (x.unflatten(-1, (self.heads, self.width)) for x in packed.chunk(3, dim=-1))
        made = dict(zip(("query", "key", "value"), parts, strict=True))
        made["bias"] = normal(self.heads, self.cuboids.volume, self.cuboids.volume)
        if self.extra:
            made["extra_query"] = normal(self.batch, *self.shape, self.heads, self.width)
            made["extra_key"] = normal(self.batch, self.extra, self.heads, self.width)
            made["extra_value"] = normal(self.batch, self.extra, self.heads, self.width)
        return {name: x.detach().requires_grad_(learns) for name, x in made.items()}


def _axial(shape: tuple[int, int, int]) -> dict[str, Cuboids]:
    t, h, w = shape
    return {
        "time": Cuboids(size=(t, 1, 1)),
        "columns": Cuboids(size=(1, h, 1)),
        "rows": Cuboids(size=(1, 1, w)),
    }


def works() -> dict[str, Work]:
    """What is timed, by name."""
    found: dict[str, Work] = {}
    for level, (shape, width) in enumerate((((13, 32, 32), 32), ((13, 16, 16), 64))):
        for axis, cuboids in _axial(shape).items():
            found[f"sevir {level} {axis}, 8 global"] = Work(shape, cuboids, 4, width, extra=8)
            found[f"sevir {level} {axis}"] = Work(shape, cuboids, 4, width)
    window = Cuboids(size=(1, 7, 7))
    shifted = Cuboids(size=(1, 7, 7), shift=(0, 3, 3))
    dilated = Cuboids(size=(1, 7, 7), strategy=("local", "dilated", "dilated"))
    found["swin 56 windows"] = Work((1, 56, 56), window, 3, 32)
    found["swin 56 shifted"] = Work((1, 56, 56), shifted, 3, 32)
    found["swin 14 windows"] = Work((1, 14, 14), window, 12, 32, batch=4)
    found["dilated 56"] = Work((1, 56, 56), dilated, 3, 32)
    for axis, cuboids in _axial((13, 16, 16)).items():
        found[f"prediff {axis}"] = Work((13, 16, 16), cuboids, 4, 64, batch=8, only_on_gpu=True)
    video = Cuboids(size=(8, 7, 7), shift=(4, 3, 3))
    found["video 8x7x7 shifted"] = Work((16, 56, 56), video, 4, 32, batch=2, only_on_gpu=True)
    return found


def attend(work: Work, tensors: dict[str, Tensor], impl: str) -> Tensor:
    """The attention by one implementation of the library."""
    extra = [tensors[name] for name in ("extra_query", "extra_key", "extra_value") if work.extra]
    return cuboid_attention(
        tensors["query"],
        tensors["key"],
        tensors["value"],
        work.cuboids,
        bias=tensors["bias"],
        extra=ExtraKeys(*extra) if extra else None,
        impl=impl,
    )


def flex(work: Work, tensors: dict[str, Tensor]) -> Tensor:
    """The attention by FlexAttention over reordered tensors; it has no place for extra keys."""
    from torch.nn.attention.flex_attention import flex_attention

    q, k, v = (
        cut(tensors[name], work.cuboids).flatten(0, 1).transpose(1, 2) for name in ("query", "key", "value")
    )
    bias, count = tensors["bias"], work.cuboids.count(work.shape)
    mask = attention_mask(work.shape, work.cuboids, work.shape, work.cuboids, q.device)

    def score(score: Tensor, batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        biased = score + bias[head, i, j]
        return biased if mask is None else torch.where(mask.pairs[batch % count, i, j], biased, -1e18)

    out = torch.compile(flex_attention)(q, k, v, score_mod=score)
    return join(out.transpose(1, 2).unflatten(0, (work.batch, count)), work.shape, work.cuboids)


def ways(work: Work, device: str) -> dict[str, Callable[[dict[str, Tensor]], Tensor]]:
    """How this work can be done on this machine."""
    found: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {
        "reference": lambda tensors: attend(work, tensors, "reference")
    }
    if device == "cpu":
        return {**found, "cpu": lambda tensors: attend(work, tensors, "cpu")}
    found["triton"] = lambda tensors: attend(work, tensors, "triton")
    if not work.extra:
        found["reordered sdpa"] = lambda tensors: attend(work, tensors, "cpu")
        found["flex attention"] = lambda tensors: flex(work, tensors)
    found["compiled reference"] = torch.compile(found["reference"])
    return found


def run(way: Callable, tensors: dict[str, Tensor], *, backward: bool) -> list[Tensor]:
    """The result, and with ``backward`` the gradient of every tensor."""
    out = way(tensors)
    return [out, *torch.autograd.grad(out.sum(), list(tensors.values()))] if backward else [out]


def unequal(work: Work, dtype: torch.dtype, device: str, *, backward: bool) -> list[str]:
    """The ways that err more than three times as much as the reference in the same type, plus eight roundings."""
    tensors = work.tensors(dtype, device, learns=backward)
    exact = {name: x.detach().double().requires_grad_(backward) for name, x in tensors.items()}
    found = ways(work, device)
    truth = run(found["reference"], exact, backward=backward)
    low = run(found["reference"], tensors, backward=backward)
    wrong = []
    for name, way in found.items():
        for actual, allowed, expected in zip(run(way, tensors, backward=backward), low, truth, strict=True):
            budget = 3 * (allowed.double() - expected).abs().max() + 8 * torch.finfo(dtype).eps
            if not (actual.double() - expected).abs().max() <= budget:
                wrong.append(name)
                break
    return wrong


def time_in_turns(
    work: Work, dtype: torch.dtype, device: str, *, backward: bool, repeats: int
) -> dict[str, list[float]]:
    """Milliseconds of each repeat of each way, the ways taking turns after one round of warming up."""
    tensors = work.tensors(dtype, device, learns=backward)
    found = ways(work, device)
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(repeats + 1):
        for name, way in found.items():
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            with torch.set_grad_enabled(backward):
                run(way, tensors, backward=backward)
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def bandwidth(device: str) -> float | None:
    """Bytes per second of a large copy on a GPU, read and written."""
    if device == "cpu":
        return None
    x = torch.empty(2**28, dtype=torch.float32, device=device)
    y, times = torch.empty_like(x), []
    for _ in range(6):
        torch.cuda.synchronize()
        start = time.perf_counter()
        y.copy_(x)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * x.nbytes / statistics.median(times)


def rows_of(
    name: str, work: Work, times: dict[str, list[float]], dtype: str, speed: float | None
) -> list[dict]:
    """One row for each way: median, spread and ratio to the reference of the same turn."""
    tokens = work.batch * work.cuboids.count(work.shape) * work.cuboids.volume
    size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    least = None if speed is None else 1e3 * 4 * tokens * work.heads * work.width * size / speed
    found = []
    for way, each in times.items():
        low, middle, high = statistics.quantiles(each, n=4) if len(each) > 1 else each * 3
        ratio = statistics.median(a / b for a, b in zip(each, times["reference"], strict=True))
        found.append(
            {
                "work": name,
                "impl": way,
                "dtype": dtype,
                "repeats": len(each),
                "median_ms": middle,
                "spread_ms": high - low,
                "of_reference": ratio,
                "of_bandwidth": None if least is None else least / middle,
            }
        )
    return found


def machine() -> str:
    """The machine in one line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {gpu}, torch {torch.__version__}"
    )


def show(rows: list[dict], device: str) -> None:
    """The table on the terminal."""
    print(
        f"{'work':28} {'impl':20} {'dtype':9} {'median ms':>10} {'spread':>8} {'of reference':>13} {'of bandwidth':>13}"
    )
    for row in rows:
        share = "" if row["of_bandwidth"] is None else f"{row['of_bandwidth']:.0%}"
        print(
            f"{row['work']:28} {row['impl']:20} {row['dtype']:9} {row['median_ms']:10.2f} {row['spread_ms']:8.2f} "
            f"{row['of_reference']:13.2f} {share:>13}"
        )
    if device == "cpu":
        for name in GPU_ROWS:
            print(f"{'every work on a GPU':28} {name:20} not measured here")


def main(arguments: list[str] | None = None) -> int:
    """Check, then time, then print; 1 when something is not equal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", default="", help="only what has this in its name")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument(
        "--backward", action="store_true", help="time the forward and the backward pass together"
    )
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, options.dtype)
    print(f"{machine()}; {'forward and backward' if options.backward else 'forward'}")
    chosen = {
        name: work
        for name, work in works().items()
        if options.work in name and (device == "cuda" or not work.only_on_gpu)
    }
    wrong = {name: unequal(work, dtype, device, backward=options.backward) for name, work in chosen.items()}
    if any(wrong.values()):
        print("not equal to the reference, so nothing is timed:", {k: v for k, v in wrong.items() if v})
        return 1
    speed, rows = bandwidth(device), []
    for name, work in chosen.items():
        times = time_in_turns(work, dtype, device, backward=options.backward, repeats=options.repeats)
        rows += rows_of(name, work, times, options.dtype, speed)
    show(rows, device)
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine(), "backward": options.backward, "rows": rows}, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
