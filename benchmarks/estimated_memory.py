"""Peak memory as `geoscope estimate` predicts it, beside what a process of its own was seen to hold.

    python benchmarks/estimated_memory.py [--quick] [--default] [--json FILE]

Each case runs in a child process on one thread: a small run first, so that libraries are loaded, then the run itself,
whose resident memory is watched. Measured is the most that was held beyond what the process held before it built the
model. A training step has moments of AdamW in place. Nothing is timed. The C library has to give freed blocks back at
once (MALLOC_MMAP_THRESHOLD_), so that what is measured is what is alive; with --default it keeps them as it likes.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from geoscope.inference.peak_memory import peak_memory
from geoscope.models.costs import earthformer
from geoscope.models.costs.estimate import DTYPES, cost
from geoscope.models.costs.steps import forecast, training_loss
from geoscope.nn.recomputation import recompute_blocks
from geoscope.training.engine.task import listed_blocks

LIMIT = 0.15  # of the measured memory
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072"}


@dataclass(frozen=True)
class Case:
    """One run; ``size`` in pixels a side, 0 for the preset's own grid."""

    preset: str
    mode: str
    size: int = 0
    batch: int = 1
    dtype: str = "float32"
    recompute: bool = False
    recompute_in: tuple[str, ...] = ()

    def config(self, size: int | None = None):
        side = self.size if size is None else size
        config = earthformer.preset_config(self.preset)
        resized = earthformer.resized(config, size=(side, side) if side else None)
        return replace(resized, recompute=tuple(self.recompute_in))


CASES = (
    Case("earthformer_sevir", "inference", 384),
    Case("earthformer_sevir", "inference", 768),
    Case("earthformer_sevir", "inference", 384, batch=2),
    Case("earthformer_sevir", "inference", 768, dtype="bfloat16"),
    Case("earthformer_sevir", "training", 240),
    Case("earthformer_sevir", "training", 240, recompute=True),
    Case("earthformer_sevir", "training", 240, recompute_in=("stem", "head")),
    Case("earthformer_sevir", "training", 240, recompute_in=("level1", "level2")),
    Case("earthformer_sevir", "training", 240, dtype="bfloat16"),
    Case("earthformer_sevir_lr", "training", 128, batch=2),
    Case("earthformer_enso", "training", batch=4),
    Case("earthformer_nbody", "training", 64, batch=2),
)
QUICK = tuple(CASES[i] for i in (0, 5, 10))


def settle(model: nn.Module, case: Case) -> None:
    """Bring a model to the state in which it is counted."""
    model.train(case.mode == "training")
    if case.recompute:
        recompute_blocks(listed_blocks(model))


def run_once(case: Case, size: int | None = None) -> None:
    """Build the model and run what the case says."""
    config, dtype = case.config(size), DTYPES[case.dtype]
    model = earthformer.build(config)
    settle(model, case)
    if case.mode == "inference":
        model.to(dtype)
        forecast(model, torch.rand(case.batch, *config.input_shape).to(dtype))
        return
    x, target = torch.rand(case.batch, *config.input_shape), torch.rand(case.batch, *config.target_shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    training_loss(model, x, target, dtype).backward()
    optimizer.step()


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not say how much memory a process holds: nothing is measured")


def measure_here(case: Case) -> int:
    """Bytes that the case holds at most beyond what the process held before."""
    torch.set_num_threads(1)
    multiple = max(earthformer.side_multiples(case.config()))
    run_once(case, 2 * multiple)
    before = resident_bytes()
    with peak_memory() as peak:
        run_once(case)
    return int(peak.megabytes * 1024 * 1024) - before


def measure(case: Case, is_default: bool) -> int:
    """`measure_here` in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps(asdict(case))]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    alone |= {} if is_default else ALLOCATOR
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=alone)
    return int(done.stdout.split()[-1])


def predict(case: Case) -> int:
    found = cost(
        case.config(),
        "training" if case.mode == "training" else "inference",
        batch=case.batch,
        dtype=DTYPES[case.dtype],
        prepare=lambda model: settle(model, case),
    )
    return found.peak


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three small cases only")
    parser.add_argument("--default", action="store_true", help="with the C library's own way to keep blocks")
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(measure_here(Case(**json.loads(options.child))))
        return 0
    print(
        f"{'preset':<22}{'run':<36}{'pixels':>8}{'batch':>6}{'predicted MB':>14}{'measured MB':>13}{'off':>8}"
    )
    rows, worst = [], 0.0
    for case in QUICK if options.quick else CASES:
        predicted, measured = predict(case), measure(case, options.default)
        off = predicted / measured - 1.0
        worst = max(worst, abs(off))
        again = (
            " recompute" * case.recompute
            + " again: " * bool(case.recompute_in)
            + ", ".join(case.recompute_in)
        )
        run = f"{case.mode} {case.dtype.replace('float', 'f')}{again}"
        side = case.size or "own"
        numbers = f"{side:>8}{case.batch:>6}{predicted / 1e6:>14.0f}{measured / 1e6:>13.0f}{off:>+8.1%}"
        print(f"{case.preset:<22}{run:<36}{numbers}", flush=True)
        rows.append({**asdict(case), "predicted": predicted, "measured": measured})
    machine = f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread"
    print(f"worst {worst:.1%}, limit {LIMIT:.0%}; {machine}, {datetime.date.today()}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
