"""`geoscope estimate`: what a network costs before it is run."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from geoscope.cli.outputs import Overwrite, check_output
from geoscope.cli.shell import progress_bar
from geoscope.errors import ConfigError

if TYPE_CHECKING:
    from geoscope.models.costs.estimate import Cost, Mode
    from geoscope.models.earthformer.config import EarthformerConfig

GB = 10**9
MEMORIES_GB = (2, 8, 24, 80)
PROGRAM = "beside the program itself, about 0.4 GB on a CPU"


def estimate(
    preset: Annotated[str, typer.Option("--preset", "-p", help="An Earthformer, such as earthformer_sevir.")],
    frames: Annotated[int | None, typer.Option(help="Past frames; default those of the preset.")] = None,
    leads: Annotated[
        int | None, typer.Option(help="Frames to forecast; default those of the preset.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Pixels a side, or ROWSxCOLUMNS; default those of the preset.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples at a time.")] = 1,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16; mixed in training.")] = "float32",
    training: Annotated[bool, typer.Option("--training", help="A step of training too, with AdamW.")] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Training that computes activations again.")
    ] = False,
    recompute_in: Annotated[
        str | None, typer.Option(help="Only in these parts of it, such as stem,head,level1.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the largest field that fits.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file too.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Print what a network costs: parameters, operations, memory, and the largest field that fits.

    Nothing is allocated or computed: the network runs on tensors without values. A multiply-add counts as 2 FLOP.
    Memory is that of the run on a CPU; in inference everything has the chosen dtype, in training it is mixed precision.
    """
    if json_file is not None:
        check_output("--json", json_file, (".json",), overwrite)
    for option, is_given in (("--recompute", recompute), ("--recompute-in", recompute_in is not None)):
        if is_given and not training:
            raise ConfigError(f"{option} is for training only; give --training too, or leave it out")
    if recompute and recompute_in is not None:
        raise ConfigError("--recompute is everywhere and --recompute-in is not: give one of them")
    pixels = None if size is None else _pixels(size)
    from geoscope.models.costs import earthformer
    from geoscope.models.costs.estimate import cost, dtype_of

    config = earthformer.resized(earthformer.preset_config(preset), frames=frames, leads=leads, size=pixels)
    if recompute_in is not None:
        config = replace(config, recompute=tuple(part.strip() for part in recompute_in.split(",")))
    precision, prepare = dtype_of(dtype), _recomputing() if recompute else None
    modes: list[Mode] = ["inference", "training"] if training else ["inference"]

    def count(mode: "Mode", of: "EarthformerConfig") -> "Cost":
        return cost(of, mode, batch=batch, dtype=precision, prepare=prepare if mode == "training" else None)

    with progress_bar("estimate") as progress:
        progress("published form", 0.02)
        published = cost(config, as_published=True, batch=batch, dtype=precision)
        costs: dict[Mode, Cost] = {}
        for place, mode in enumerate(modes):
            progress(mode, 0.1 + 0.1 * place)
            costs[mode] = count(mode, config)
        fits = {} if quick else _largest(config, costs, count, progress)
    steps, rows, columns, _ = config.input_shape
    what = f"{preset}: {steps} frames of {rows} x {columns} in, {config.target_shape[0]} out, batch {batch}, {dtype}"
    console = Console()
    console.print(_cost_table(what, costs, published.flop))
    console.print(_part_table(costs[modes[-1]]))
    if fits:
        console.print(_fit_table(fits, batch))
    if json_file is not None:
        facts = {
            "preset": preset,
            "input_shape": config.input_shape,
            "target_shape": config.target_shape,
            "batch": batch,
            "dtype": dtype,
            "recompute": list(config.recompute) or recompute,
            "flop_as_published": published.flop,
        }
        _write(json_file, {**facts, **_plain(costs, fits)}, overwrite)


def _plain(costs: "dict[Mode, Cost]", fits: "dict[Mode, list[int]]") -> dict[str, Any]:
    """Costs and largest fields as JSON has them."""
    return {
        "costs": {mode: {**asdict(one), "peak": one.peak} for mode, one in costs.items()},
        "largest_side_by_gb": {
            mode: dict(zip(map(str, MEMORIES_GB), sides, strict=True)) for mode, sides in fits.items()
        },
    }


def _pixels(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"(-?\d+)(?:x(-?\d+))?", size.strip().lower())
    if match is None:
        raise ConfigError(
            f"--size {size!r}: give pixels a side, as in 768, or rows and columns, as in 384x512"
        )
    return int(match[1]), int(match[2] or match[1])


def _recomputing() -> "Callable[[Any], None]":
    from geoscope.nn.recomputation import recompute_blocks
    from geoscope.training.engine.task import listed_blocks

    return lambda model: recompute_blocks(listed_blocks(model))


def _largest(
    config: "EarthformerConfig",
    costs: "dict[Mode, Cost]",
    count: "Callable[[Mode, EarthformerConfig], Cost]",
    progress: Callable[[str, float], None],
) -> "dict[Mode, list[int]]":
    from geoscope.models.costs import earthformer
    from geoscope.models.costs.largest import largest_sides

    step = lcm(*earthformer.side_multiples(config))
    first = max(config.input_shape[1:3])
    looked = 0

    def peak_of(mode: "Mode", side: int) -> int:
        nonlocal looked
        looked += 1
        progress(f"{mode}, {side} x {side}", 1.0 - 0.7 * 0.93**looked)
        if config.input_shape[1:3] == (side, side):
            return costs[mode].peak
        return count(mode, earthformer.resized(config, size=(side, side))).peak

    budgets = [gigabytes * GB for gigabytes in MEMORIES_GB]
    longest = earthformer.LONGEST_SIDE
    return {
        mode: largest_sides(
            lambda side, mode=mode: peak_of(mode, side), budgets, step, longest=longest, first=first
        )
        for mode in costs
    }


def _cost_table(title: str, costs: "dict[Mode, Cost]", published_flop: int) -> Table:
    caption = f"a multiply-add is 2 FLOP; bytes moved without any cache; memory {PROGRAM}"
    table = Table(title=title, caption=caption)
    table.add_column("", no_wrap=True)
    for mode in costs:
        table.add_column("a step of training" if mode == "training" else mode, justify="right")
    every = list(costs.values())
    table.add_row("parameters", *(f"{one.parameters:,}" for one in every))
    table.add_row("GFLOP", *(f"{one.flop / 1e9:,.1f}" for one in every))
    if published_flop != costs["inference"].flop:
        table.add_row("GFLOP as published", f"{published_flop / 1e9:,.1f}", *[""] * (len(every) - 1))
    table.add_row("moved, GB", *(_gb(one.moved) for one in every), end_section=True)
    for name in ("weights", "inputs", "gradients", "moments", "activations"):
        label = {"moments": "moments of AdamW"}.get(name, name)
        table.add_row(f"{label}, GB", *(_gb(getattr(one, name)) for one in every))
    table.add_row("[bold]at the peak, GB[/]", *(f"[bold]{_gb(one.peak)}[/]" for one in every))
    table.add_row("the peak is in", *(one.peak_part for one in every), end_section=True)
    if "training" in costs:
        kept = [_gb(one.kept) if one.mode == "training" else "" for one in every]
        table.add_row("kept for the gradient, GB", *kept)
    return table


def _part_table(cost: "Cost") -> Table:
    table = Table(title=f"the forward pass by part ({cost.mode})")
    table.add_column("part", no_wrap=True)
    for heading in ("GFLOP", "share", "moved, GB", *(["kept, GB"] if cost.mode == "training" else [])):
        table.add_column(heading, justify="right")
    total = sum(part.flop for part in cost.parts.values()) or 1
    for name, part in cost.parts.items():
        cells = [f"{part.flop / 1e9:,.1f}", f"{100 * part.flop / total:.1f} %", _gb(part.moved)]
        table.add_row(name, *cells, *([_gb(part.kept)] if cost.mode == "training" else []))
    return table


def _fit_table(fits: "dict[Mode, list[int]]", batch: int) -> Table:
    from geoscope.models.costs.largest import CLOSE

    caption = f"pixels a side, batch {batch}, to within {100 * (1 - CLOSE):.0f} % of the memory, {PROGRAM}"
    table = Table(title="the largest square field that fits", caption=caption)
    table.add_column("memory")
    for mode in fits:
        table.add_column(mode, justify="right")
    for place, gigabytes in enumerate(MEMORIES_GB):
        table.add_row(f"{gigabytes} GB", *(_side(sides[place]) for sides in fits.values()))
    return table


def _side(side: int) -> str:
    return f"{side} x {side}" if side else "none"


def _gb(size: int) -> str:
    return f"{size / GB:,.3f}"


def _write(path: Path, plain: dict[str, Any], overwrite: bool) -> None:
    from geoscope.data.whole_files import whole_file

    with whole_file(path, overwrite) as part:
        part.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    typer.echo(f"wrote {path}")
