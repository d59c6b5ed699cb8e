"""`geoscope benchmark`: models held against each other on the same events."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from typer.core import TyperCommand

from geoscope.cli.outputs import Overwrite, check_output
from geoscope.cli.shell import progress_bar
from geoscope.cli.verify import DEFAULT_THRESHOLDS, parse_thresholds
from geoscope.errors import ConfigError

if TYPE_CHECKING:
    from geoscope.inference.benchmark_table import Row
    from geoscope.training.video_benchmark import VideoRow

DEFAULT_MODELS = ("earthformer-nowcast", "extrapolation", "persistence")
WIDE = 140  # columns
VIDEO_TASKS = ("moving-mnist", "nbody-mnist")
VIDEO_ONLY, RADAR_ONLY = ("steps", "data"), ("minutes", "every", "history", "members")


class ModelsTakeSeveral(TyperCommand):
    """A command whose --models is followed by any number of words: `--models A B C`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give each word after --models, up to the next option, a --models of its own."""
        spread: list[str] = []
        is_models = False
        for word, following in zip(args, [*args[1:], "-"], strict=True):
            if word.startswith("-"):
                is_models = word in ("--models", "-m")
                if is_models and following.startswith("-"):
                    raise ConfigError(f"{word} is followed by no name: name one model or more after it")
                if is_models:
                    continue
            spread += ["--models", word] if is_models else [word]
        return super().parse_args(ctx, spread)


def benchmark(
    events: Annotated[
        list[str],
        typer.Argument(
            metavar="EVENT...",
            help="Samples, files, globs in quotes, or folders of events; or moving-mnist, nbody-mnist.",
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models", "-m", help="Names, one after the other: --models A B C. See geoscope models."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Furthest lead; default an hour, or three sparse frames.")
    ] = None,
    every: Annotated[float | None, typer.Option(help="Minutes between issue times; default 30.")] = None,
    history: Annotated[int | None, typer.Option(help="Past frames that a model may see; default 13.")] = None,
    thresholds: Annotated[
        str, typer.Option(help="Rain rates in mm/h, with commas between.")
    ] = DEFAULT_THRESHOLDS,
    size: Annotated[
        int | None, typer.Option(help="Only the middle so many pixels a side (digits: frame size, 64).")
    ] = None,
    members: Annotated[
        int | None, typer.Option(help="Score so many members of the ensemble models, not their mean.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of members, and of digits and networks.")] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Digits only: updates of each network; default 300.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Digits only: folder of MNIST's files.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file too.")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the table to this file too.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Hold models against each other on the same frames, pixels and leads of EVENT..., and print the table.

    Scores are pooled over issue times and leads; 95 % intervals come from drawing events, or the issue times of a
    single event. "gain" is CSI mean against the fair baseline at hand, with a star where that is more than luck. With
    moving-mnist or nbody-mnist in place of events, networks are trained and compared on moving digits.
    """
    for option, path, suffix in (("--json", json_file, ".json"), ("--csv", csv_file, ".csv")):
        if path is not None:
            check_output(option, path, (suffix,), overwrite)
    given = {
        "steps": steps,
        "data": data,
        "minutes": minutes,
        "every": every,
        "history": history,
        "members": members,
    }
    if set(events) & set(VIDEO_TASKS):
        _refuse(events, given, RADAR_ONLY)
        plain, csv = _compare_networks(events[0], models, size, seed, steps, data)
    else:
        _refuse([], given, VIDEO_ONLY)
        chosen = {"minutes": minutes, "every": every, "history": history, "size": size, "members": members}
        options = {name: value for name, value in chosen.items() if value is not None}
        options |= {"seed": seed, "thresholds": parse_thresholds(thresholds)}
        plain, csv = _compare_nowcasts(events, models or DEFAULT_MODELS, options, device)
    _write(json_file, json.dumps(plain, indent=1) + "\n", overwrite)
    _write(csv_file, csv, overwrite)


def _refuse(events: Sequence[str], given: dict[str, Any], options: Sequence[str]) -> None:
    if len(events) > 1:
        raise ConfigError(
            f"EVENT {' '.join(events)!r}: {' and '.join(VIDEO_TASKS)} stand alone, one at a time"
        )
    for name in options:
        if given[name] is not None:
            where = "events of rain" if name in RADAR_ONLY else " or ".join(VIDEO_TASKS)
            raise ConfigError(f"--{name} is only for {where}; leave it out")


def _compare_nowcasts(
    events: Sequence[str], models: Sequence[str], options: dict[str, Any], device: str
) -> tuple[dict[str, Any], str]:
    from geoscope.data.events import find_events
    from geoscope.inference import benchmark_table
    from geoscope.inference.benchmark import Settings, run

    settings = Settings(**options)
    names = [name for word in models for name in word.replace(",", " ").split()]
    with progress_bar("benchmark") as progress:
        sources = [source for word in events for source in find_events(word)]
        outcome = run(sources, names, settings, device, progress)
    table = benchmark_table.rows(outcome)
    console = _console()
    titles = list(dict.fromkeys(row.event for row in table))
    if len(titles) > 1:
        console.print(_by_event([row for row in table if row.event in titles[:-2]]))
        titles = titles[-2:]
    for title in titles:
        console.print(_table(title, [row for row in table if row.event == title]))
    for line in benchmark_table.advice(outcome):
        typer.echo(_against(line, [row for row in table if row.event == titles[-1]]))
    for note in outcome.notes:
        typer.echo(f"note: {note}")
    return benchmark_table.as_plain(outcome), benchmark_table.as_csv(table)


def _console() -> Console:
    """The terminal; a file or a pipe is taken to be wide enough for the table, so that nothing is cut off there."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, WIDE))


def _by_event(rows: "list[Row]") -> Table:
    """The CSI mean of every model on every event."""
    models = list(dict.fromkeys(row.model for row in rows))
    table = Table(title="CSI mean by event", caption="--json and --csv write all scores of each event")
    table.add_column("event", overflow="fold")
    for heading in ("issue times", "leads", *models):
        table.add_column(heading, justify="right")
    for event in dict.fromkeys(row.event for row in rows):
        each = {row.model: row for row in rows if row.event == event}
        first = each[models[0]]
        cells = [_number(each[model].csi_mean) for model in models]
        table.add_row(event, str(first.cases), f"{first.leads} to {first.lead_minutes:g} min", *cells)
    return table


def _table(title: str, rows: "list[Row]") -> Table:
    first = rows[0]
    cases = f"{first.cases} issue time{'' if first.cases == 1 else 's'}"
    caption = f"{cases}, {first.leads} leads to {first.lead_minutes:g} min; MAE and bias in mm/h"
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    scale = list(first.fss)[-1]
    has_members = any(not math.isnan(row.crps) for row in rows)
    headings = ["CSI\nmean", "95 %", "gain", *(f"CSI\n{level}" for level in first.csi), f"FSS\n{scale} px"]
    headings += ["MAE", "bias", "rain\nratio", *(["CRPS"] if has_members else []), "s", "MB"]
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        between = "-" if math.isnan(row.csi_low) else f"{row.csi_low:.2f}-{row.csi_high:.2f}"
        gain = _number(row.gain, "+.3f") + ("*" if row.gain_low > 0 else "")
        cells = [_number(value) for value in (*row.csi.values(), row.fss[scale], row.mae)]
        cells += [_number(row.bias, "+.3f"), _number(row.rain_ratio, ".2f")]
        cells += [*([_number(row.crps)] if has_members else []), f"{row.seconds:.2f}", f"{row.memory_mb:.0f}"]
        table.add_row(row.model, _number(row.csi_mean), between, gain, *cells)
    return table


def _number(value: float, form: str = ".3f") -> str:
    return "-" if math.isnan(value) else format(value, form)


def _against(line: str, rows: "list[Row]") -> str:
    """The line of advice on a model, with its gain over the baseline where that is known."""
    for row in rows:
        if line.startswith(f"{row.model}: fair baseline") and not math.isnan(row.gain):
            sure = "" if math.isnan(row.gain_low) else f" ({row.gain_low:+.3f} to {row.gain_high:+.3f})"
            return f"{line}: CSI mean {row.gain:+.3f}{sure}"
    return line


def _compare_networks(
    task: str, models: Sequence[str] | None, size: int | None, seed: int, steps: int | None, data: Path | None
) -> tuple[dict[str, Any], str]:
    from dataclasses import asdict

    from geoscope.models.networks import NAMES
    from geoscope.training.video_benchmark import compare

    names = [name for word in models or NAMES for name in word.replace(",", " ").split()]
    chosen: dict[str, Any] = {"size": size, "train_steps": steps, "data": data}
    options = {name: value for name, value in chosen.items() if value is not None}
    with progress_bar("benchmark") as progress:
        rows = compare(task, names, seed=seed, progress=progress, **options)  # type: ignore[arg-type]
    _console().print(_network_table(task, rows))
    plain = {
        "task": task,
        "seed": seed,
        **{k: str(v) for k, v in options.items()},
        "rows": [asdict(r) for r in rows],
    }
    columns = ("model", "parameters", "steps", "seconds_a_step", "mse", "mae", "ssim")
    lines = [",".join(columns), *(",".join(f"{getattr(row, name)}" for name in columns) for row in rows)]
    return plain, "\n".join(lines) + "\n"


def _network_table(task: str, rows: "Sequence[VideoRow]") -> Table:
    caption = "errors added over a frame's pixels, values in [0, 1], mean over frames and sequences"
    table = Table(title=task, caption=caption)
    table.add_column("model", no_wrap=True)
    for heading in ("parameters", "steps", "s a step", "MSE", "MAE", "SSIM"):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [f"{row.parameters:,}", str(row.steps), f"{row.seconds_a_step:.2f}"]
        table.add_row(row.model, *cells, f"{row.mse:.2f}", f"{row.mae:.2f}", f"{row.ssim:.3f}")
    return table


def _write(path: Path | None, text: str, overwrite: bool) -> None:
    from geoscope.data.whole_files import whole_file

    if path is not None:
        with whole_file(path, overwrite) as part:
            part.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {path}")
