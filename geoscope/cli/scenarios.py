"""`geoscope scenarios`: what if it rains n sigma more, or less, than expected?"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from geoscope.cli.events import open_event
from geoscope.cli.outputs import Overwrite, check_output
from geoscope.cli.shell import progress_bar
from geoscope.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

SHARE_OF_OPENING = 0.1  # of the progress bar
DEFAULT_SIGMAS = (-4.0, -2.0, 0.0, 2.0, 4.0)


class SigmaTakesSeveral(TyperCommand):
    """A command whose --sigma is followed by any number of numbers, negative ones too: `--sigma -2 0 2`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give each number after --sigma an option of its own."""
        spread: list[str] = []
        is_sigma = False
        for word, following in zip(args, [*args[1:], "--"], strict=True):
            if word == "--sigma":
                if not _is_number(following):
                    raise ConfigError(
                        f"--sigma is followed by {following[:40]!r}, not by a number: write it as --sigma -2 0 2"
                    )
                is_sigma = True
                continue
            is_sigma = is_sigma and _is_number(word)
            spread += [f"--sigma={word}"] if is_sigma else [word]
        return super().parse_args(ctx, spread)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def scenarios(
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="A sample's name, a file, a folder, or a glob in quotes.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .nc or .zarr.")],
    sigma: Annotated[
        list[float] | None,
        typer.Option(
            help="Departures from the expected mean rain, one after the other; default -4 -2 0 2 4."
        ),
    ] = None,
    members: Annotated[int, typer.Option(help="So many members at each sigma.")] = 4,
    steps: Annotated[int, typer.Option(help="Steps of the sampler.")] = 10,
    seed: Annotated[int, typer.Option(help="The same seed draws the same members.")] = 0,
    issue_time: Annotated[
        str | None, typer.Option(help="UTC time of the last frame the model sees; default the last frame.")
    ] = None,
    lead_steps: Annotated[
        int | None, typer.Option(help="Frames ahead; default one hour, or three where they are sparse.")
    ] = None,
    region: Annotated[
        Path | None, typer.Option(help="GeoJSON of a catchment whose mean rain is controlled; default all.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="See geoscope models.")] = "prediff-nowcast",
    variable: Annotated[str | None, typer.Option(help="The quantity where a file holds several.")] = None,
    fill_gaps: Annotated[
        str | None, typer.Option(help="What a missing frame becomes: nan, linear or previous.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Draw futures of EVENT whose mean rain lies n sigma from the expected one, and write them to a file.

    Each member is kept beside the file when it is finished: the same command goes on where it was stopped, with the
    same bits. Mean and sigma come from the frames up to the issue time alone.
    """
    check_output("--out", out, (".nc", ".zarr"), overwrite)
    outline = _read_region(region)
    from geoscope.inference.field_request import pixel_size, run_card
    from geoscope.inference.scenarios import check_counts, check_memory, check_sigmas, prepare_scenarios
    from geoscope.viz.scenario_files import Drawing, folder_of_parts, write_scenarios

    drawing = Drawing(check_sigmas(sigma or DEFAULT_SIGMAS), members, steps, seed)
    check_counts(members, steps, seed)
    started = time.perf_counter()
    with progress_bar("scenarios") as progress:
        progress("reading", 0.0)
        rain = open_event(event, variable, fill_gaps)
        source = prepare_scenarios(
            rain, model, issue_time, lead_steps, region=outline, device=device,
            progress=lambda stage, share: progress(stage, SHARE_OF_OPENING * share),
        )  # fmt: skip
        check_memory(len(drawing.sigmas) * members, source.leads, rain.shape[-2:])
        pixel = sum(pixel_size(rain)) / 2
        told = run_card(source.runner, source.past, source.step, pixel, device, 0.0)
        told |= {"seed": seed, "steps": steps, "seconds": round(time.perf_counter() - started, 3)}
        try:
            field, found = write_scenarios(
                source, out, drawing, told=told, overwrite=overwrite,
                progress=lambda stage, share: progress(stage, SHARE_OF_OPENING + (1 - SHARE_OF_OPENING) * share),
            )  # fmt: skip
        except KeyboardInterrupt:
            parts = folder_of_parts(out).name
            typer.echo(f"geoscope: what is finished stays in {parts}; the same command goes on", err=True)
            raise
    typer.echo(_summary(out, field, found))


def _read_region(path: Path | None) -> Any:
    """The GeoJSON of a file, None where none is asked for.

    Raises:
        ConfigError: the file cannot be read, or holds no JSON object.
    """
    if path is None:
        return None
    try:
        region = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no JSON"
        raise ConfigError(f"--region {str(path)!r} cannot be read: {reason}; give a GeoJSON file") from error
    if not isinstance(region, dict):
        raise ConfigError(
            f"--region {str(path)!r} holds no GeoJSON object: give a polygon, or a feature with one"
        )
    return region


def _summary(out: Path, field: "xr.DataArray", found: int) -> str:
    """The file, and what each sigma asked and got."""
    units = str(field.attrs.get("units", ""))
    head = (
        f"{out}: {field.sizes['member']} members at {field.sizes['sigma']} sigmas by {field.attrs['model']}, "
        f"expected mean rain {float(field['mu']):.2f} {units}".rstrip()
    )
    lines = [head + (f"; {found} members were there from before" if found else "")]
    for index, sigma in enumerate(field["sigma"].values):
        got = field["achieved_mean"].values[index]
        doubt = "" if field["plausible"].values[index].all() else ", beyond what training has seen"
        lines.append(
            f"  {sigma:+g} sigma: asked {float(field['asked_mean'][index]):.2f}, got {got.min():.2f} to "
            f"{got.max():.2f} {units}{doubt}"
        )
    return "\n".join(lines)
