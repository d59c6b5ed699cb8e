"""This library's Earthformer against the published code, in one run, with the same random weights.

    python benchmarks/race_published.py --published PATH [--work sevir-fp32 enso-fp32 ...] [--repeats 3]
        [--side 384] [--json FILE] [--profile]

PATH is the folder of a copy of https://github.com/amazon-science/earth-forecasting-transformer that holds the package
`earthformer` (its `src`). Without it the library's own reference form is raced: upsampling and convolutions apart, all
frames at once. Both give the same forecast (for training: the same gradient, dropout off) to rounding, or nothing is
timed; in bfloat16 ours may differ from the opponent's float32 twice as much as the opponent does under autocast. Then
the two take turns. CPU time of the process stands beside wall time: on a shared machine only its ratio says something.
Peak memory is that of a process of its own, the library included.

What was tried for the forward pass, and where the time goes now (`--profile`; benchmarks/README.md has the table): half
of SEVIR are the convolutions that remain, at the 105 to 110 GFLOP/s a core that oneDNN reaches there; a quarter are
linear layers, a sixth copies, norms and attention. A convolution of its own for each phase of a 3x3 kernel beats one
for all of them, whose zero taps cost more than they save; of a composed 5x5 kernel the phases share one along W.
PyTorch's float32 linear layers took up to twice the time of oneDNN's with the GELU and the residual inside. What
brought nothing: joining the six projections of a layer with global vectors; feed-forward layers, or heads of attention,
a few at a time to fit the cache; `torch.compile` of the prepared form (ENSO 1.00 times as fast, 0.99 with frozen
weights, after two minutes of compiling).

ENSO has few repeated pixels to save on: of its 13 GFLOP some 12 are products that any form has to do, two thirds of the
time now. What was left to gain was attention over cuboids of 12 and 24 tokens, a quarter of the time: PyTorch takes the
softmax of a row of fewer than 16 numbers one by one, and its fused attention spends longer on starting a cuboid than on
its work. Two batched products and rows filled up to 16 halved that. With attention, norms and copies at no cost at all
ENSO would be twice as fast in float32 and no more.

In bfloat16 a model with random weights is 7 % off (root mean square), less than twice what the published code is off
under autocast; what that means for scores: benchmarks/half_precision.py.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from geoscope.models.earthformer import initial
from geoscope.models.earthformer.checkpoints import from_published, published_name
from geoscope.models.earthformer.config import Dropout
from geoscope.models.earthformer.model import Earthformer
from geoscope.models.earthformer.presets import earthformer_enso, earthformer_sevir
from geoscope.nn.recomputation import recompute_blocks
from geoscope.nn.resampling import Upsample

WORKS = ("sevir-fp32", "sevir-bf16", "enso-fp32", "enso-bf16", "sevir-train", "sevir-train-recompute")
NO_DROPOUT = {"attn_drop": 0.0, "proj_drop": 0.0, "ffn_drop": 0.0}
COMMON = {
    "enc_attn_patterns": "axial",
    "dec_self_attn_patterns": "axial",
    "dec_cross_attn_patterns": "cross_1x1",
    "enc_depth": [1, 1],
    "dec_depth": [1, 1],
    "padding_type": "zeros",
    "pos_embed_type": "t+h+w",
    "z_init_method": "zeros",
    "ffn_activation": "gelu",
    "dec_use_first_self_attn": False,
    "checkpoint_level": 0,
    **NO_DROPOUT,
}
SEVIR = {
    **COMMON,
    "base_units": 128,
    "num_global_vectors": 8,
    "use_dec_self_global": False,
    "use_dec_cross_global": False,
    "use_global_vector_ffn": False,
    "use_global_self_attn": True,
    "separate_global_qkv": True,
    "initial_downsample_type": "stack_conv",
    "initial_downsample_stack_conv_num_layers": 3,
    "initial_downsample_stack_conv_dim_list": [16, 64, 128],
    "initial_downsample_stack_conv_downscale_list": [3, 2, 2],
    "initial_downsample_stack_conv_num_conv_list": [2, 2, 2],
}
ENSO = {
    **COMMON,
    "base_units": 64,
    "num_global_vectors": 0,
    "use_dec_self_global": False,
    "use_dec_cross_global": False,
    "use_global_vector_ffn": False,
    "initial_downsample_type": "conv",
    "initial_downsample_scale": [1, 1, 2],
    "initial_downsample_conv_layers": 2,
    "final_upsample_conv_layers": 1,
}


@dataclass
class Racer:
    """One contestant: its name and the pass to time, which gives what must be equal."""

    name: str
    run: Callable[[], Tensor]
    run_in_half: Callable[[], Tensor] | None = None


def shapes(work: str, side: int) -> dict[str, list[int]]:
    """Input and target of ``work``; SEVIR on ``side`` x ``side`` pixels."""
    if work.startswith("enso"):
        return {"input_shape": [12, 24, 48, 1], "target_shape": [14, 24, 48, 1]}
    return {"input_shape": [13, side, side, 1], "target_shape": [12, side, side, 1]}


def library_model(work: str, side: int) -> Earthformer:
    config = earthformer_enso() if work.startswith("enso") else earthformer_sevir()
    grids = {key: tuple(value) for key, value in shapes(work, side).items()}
    torch.manual_seed(0)
    return Earthformer(replace(config, **grids, dropout=Dropout()))


def published_pair(folder: str, work: str, side: int) -> tuple[nn.Module, Earthformer]:
    """The published model and ours with its weights."""
    sys.path.insert(0, folder)
    try:
        from earthformer.cuboid_transformer.cuboid_transformer import CuboidTransformerModel
    except ImportError as error:
        sys.exit(
            f"race_published: no package earthformer in {folder} ({error}): give the src folder of a copy"
        )
    kwargs = {**(ENSO if work.startswith("enso") else SEVIR), **shapes(work, side)}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = CuboidTransformerModel(**kwargs)
    return theirs, from_published(kwargs, theirs.state_dict())


def models(options: argparse.Namespace, work: str) -> tuple[nn.Module, Earthformer]:
    if options.published:
        return published_pair(options.published, work, options.side)
    reference, ours = library_model(work, options.side), library_model(work, options.side)
    for module in reference.modules():
        if isinstance(module, Upsample):
            module.impl = "reference"
    return reference, ours


def training_step(model: nn.Module, names: list[str], x: Tensor, target: Tensor) -> Callable[[], Tensor]:
    """Forward and backward; the result is the gradient of the parameters in the order of ``names``."""
    model.train()
    parameters = dict(model.named_parameters())

    def run() -> Tensor:
        model.zero_grad()
        (model(x) - target).square().mean().backward()
        return torch.cat(
            [
                torch.zeros(p.numel()) if p.grad is None else p.grad.flatten()
                for p in map(parameters.get, names)
            ]
        )

    return run


def racers(options: argparse.Namespace, work: str) -> tuple[Racer, Racer]:
    theirs, ours = models(options, work)
    name = "published" if options.published else "reference form"
    x = torch.rand(1, *shapes(work, options.side)["input_shape"])
    if "train" in work:
        target = torch.rand(1, *shapes(work, options.side)["target_shape"])
        if work.endswith("recompute"):
            recompute_blocks(block for part in ours.config.parts for block in ours.blocks(part))
        names = [own for own, _ in ours.named_parameters()]
        alien = [
            published_name(own, ours.config, is_stacked=True) if options.published else own for own in names
        ]
        return (
            Racer(name, training_step(theirs, alien, x, target)),
            Racer("geoscope", training_step(ours, names, x, target)),
        )
    theirs.eval()
    fast = ours.eval().prepare(torch.bfloat16 if work.endswith("bf16") else torch.float32)
    at_once, is_half = initial.VALUES_AT_ONCE, work.endswith("bf16")

    def run_in_half() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run_theirs().float()

    def run_theirs() -> Tensor:
        initial.VALUES_AT_ONCE = 2**60  # for the reference form: all frames at once
        with torch.no_grad():
            out = theirs(x)
        initial.VALUES_AT_ONCE = at_once
        return out

    return Racer(name, run_theirs, run_in_half if is_half else None), Racer("geoscope", lambda: fast(x))


class NotEqual(Exception):
    """What two contestants give differs by more than rounding."""


def difference(one: Tensor, other: Tensor) -> float:
    """Root mean square of the difference, relative to ``other``."""
    return ((one - other).square().mean().sqrt() / other.square().mean().sqrt()).item()


def check_equal(work: str, theirs: Tensor, ours: Tensor, theirs_in_half: Tensor | None = None) -> float:
    """The relative difference; `NotEqual` where it is too large to time anything.

    In bfloat16 ours may differ from the opponent's float32 twice as much as the opponent does under autocast.
    """
    error, limit = difference(ours, theirs), 1e-3 if "train" in work else 1e-4
    if theirs_in_half is not None:
        limit = 2 * difference(theirs_in_half, theirs)
    if not error <= limit:
        raise NotEqual(f"{work} differs by {error:.1e} (limit {limit:.1e}): nothing is timed")
    return error


def peak_mb() -> float | None:
    """The most memory that this process ever held, MB; None where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def own_peak(options: argparse.Namespace, work: str, place: int) -> float | None:
    """Peak memory of one contestant's pass, in a process of its own."""
    command = [sys.executable, __file__, "--work", work, "--side", str(options.side), "--peak", str(place)]
    command += ["--published", options.published] if options.published else []
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
    return None if said == "None" else float(said)


def race(options: argparse.Namespace, work: str) -> dict:
    pair = racers(options, work)
    in_half = pair[0].run_in_half
    error = check_equal(work, pair[0].run(), pair[1].run(), None if in_half is None else in_half())
    cpu: dict[str, list[float]] = {racer.name: [] for racer in pair}
    wall: dict[str, list[float]] = {racer.name: [] for racer in pair}
    for _ in range(options.repeats):
        for racer in pair:
            start, used = time.perf_counter(), time.process_time()
            racer.run()
            cpu[racer.name].append(time.process_time() - used)
            wall[racer.name].append(time.perf_counter() - start)
    if options.profile:
        profile(pair[1])
    peaks = [own_peak(options, work, place) for place in (0, 1)] if options.memory else [None, None]
    first, second = (racer.name for racer in pair)
    return {
        "work": work,
        "error": error,
        "cpu_s": cpu,
        "wall_s": wall,
        "peak_mb": dict(zip((first, second), peaks, strict=True)),
        "ratio": statistics.median(cpu[first]) / statistics.median(cpu[second]),
        "memory_ratio": peaks[1] / peaks[0] if peaks[0] and peaks[1] else None,
    }


def profile(racer: Racer) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        racer.run()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=44))


def machine() -> dict:
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def show(results: list[dict], repeats: int) -> None:
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()) + f", {repeats} repeats")
    print(
        f"{'work':<24}{'who':<16}{'CPU s (median)':>15}{'spread':>16}{'wall s':>9}{'peak MB':>10}"
        f"{'ratio':>8}{'memory':>8}{'error':>10}"
    )
    for result in results:
        for i, (name, times) in enumerate(result["cpu_s"].items()):
            peak, share = result["peak_mb"][name], result["memory_ratio"]
            print(
                f"{result['work']:<24}{name:<16}{statistics.median(times):>15.3f}"
                f"{f'{min(times):.3f}-{max(times):.3f}':>16}{statistics.median(result['wall_s'][name]):>9.2f}"
                f"{'-' if peak is None else f'{peak:.0f}':>10}"
                + (f"{result['ratio']:>7.2f}x" if i else f"{'':>8}")
                + (f"{share:>7.2f}x" if i and share else f"{'':>8}")
                + (f"{result['error']:>10.1e}" if i else "")
            )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--published", help="the src folder of a copy of the published code")
    parser.add_argument("--work", nargs="+", default=list(WORKS), choices=WORKS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", type=int, default=384, help="pixels of the SEVIR grid, a multiple of 24")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true", help="where the time of ours goes")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave peak memory out")
    parser.add_argument("--peak", type=int, choices=(0, 1), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.peak is not None:
        racer = racers(options, options.work[0])[options.peak]
        racer.run()
        print(peak_mb())
        return 0
    results, is_complete = [], True
    for work in options.work:
        try:
            results.append(race(options, work))
        except NotEqual as problem:
            print(f"race_published: {problem}", file=sys.stderr)
            is_complete = False
    show(results, options.repeats)
    if options.json:
        options.json.write_text(json.dumps({**machine(), "results": results}, indent=1) + "\n")
    return int(not is_complete)


if __name__ == "__main__":
    sys.exit(main())
