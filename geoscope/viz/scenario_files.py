"""Scenarios written as they get ready: each finished member is kept beside the target, and is not drawn again.

The members of a run wait in a folder beside the file, ``.NAME.parts``; the file itself appears when all are there. A
run that was stopped finds them again when it is asked the same question, and refuses to mix them with another's.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geoscope.data.writers import write_forecast
from geoscope.errors import ConfigError, DataError
from geoscope.inference.scenarios import Scenario, ScenarioSource

Progress = Callable[[str, float], None]
SUFFIXES = (".nc", ".zarr")
QUESTION = "question.json"
_NUMBERS = ("sigma", "asked_mean", "achieved_mean", "shift", "is_plausible")


@dataclass(frozen=True)
class Drawing:
    """What is drawn for a file: all ``members`` at all ``sigmas``, with so many sampler ``steps`` from a ``seed``."""

    sigmas: tuple[float, ...]
    members: int
    steps: int
    seed: int

    def question(self, source: ScenarioSource) -> dict[str, Any]:
        """All that the bits of a member depend on."""
        weights = source.runner.card.weights
        past = np.ascontiguousarray(source.past.values)
        return {
            "model": source.runner.card.name,
            "weights": weights.sha256 if weights is not None else None,
            "past": hashlib.sha256(past.tobytes()).hexdigest(),
            "issue_time": str(source.past["time"].values[-1])[:19],
            "leads": source.leads,
            "outlook": [source.expectation.location, source.expectation.scale, source.expectation.freedom],
            "sigmas": list(self.sigmas),
            "steps": self.steps,
            "seed": self.seed,
        }


def folder_of_parts(target: Path) -> Path:
    """Where the finished members of a file wait."""
    return target.with_name(f".{target.name}.parts")


class Parts:
    """The finished members of one file, in a folder beside it."""

    def __init__(self, target: Path, question: dict[str, Any], *, overwrite: bool = False) -> None:
        """Find or make the folder.

        Raises:
            ConfigError: it holds members of another question, and ``overwrite`` is False.
        """
        self.folder = folder_of_parts(target)
        asked = json.dumps(question, sort_keys=True)
        note = self.folder / QUESTION
        if note.is_file() and note.read_text(encoding="utf-8") != asked:
            if not overwrite:
                raise ConfigError(
                    f"{self.folder} holds members that were drawn with other options or data: run the command that "
                    "began them, remove the folder, or give --overwrite"
                )
            shutil.rmtree(self.folder)
        self.folder.mkdir(exist_ok=True)
        note.write_text(asked, encoding="utf-8")

    def has(self, member: int) -> bool:
        """Whether a member is finished."""
        return self._file(member).is_file()

    def put(self, member: int, drawn: Sequence[Scenario]) -> None:
        """Keep a member: its scenarios, one for each sigma."""
        numbers: dict[str, Any] = {name: [getattr(each, name) for each in drawn] for name in _NUMBERS}
        part = self._file(member).with_suffix(".half.npz")
        np.savez(part, rain=np.stack([each.rain for each in drawn]), **numbers)
        os.replace(part, self._file(member))

    def get(self, member: int) -> list[Scenario]:
        """The scenarios of a finished member.

        Raises:
            DataError: its file cannot be read.
        """
        try:
            with np.load(self._file(member)) as kept:
                arrays = {name: kept[name] for name in (*_NUMBERS, "rain")}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{self._file(member)} cannot be read: remove it and run again") from error
        rows = zip(*(arrays[name].tolist() for name in _NUMBERS), arrays["rain"], strict=True)
        return [
            Scenario(sigma, member, asked, achieved, shift, plausible, rain)
            for sigma, asked, achieved, shift, plausible, rain in rows
        ]

    def remove(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, member: int) -> Path:
        return self.folder / f"member-{member:04d}.npz"


def write_scenarios(
    source: ScenarioSource,
    path: Path,
    drawing: Drawing,
    *,
    told: dict[str, Any],
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[xr.DataArray, int]:
    """Draw, keep each member as it is finished, and write all of them; the field, and how many were there before.

    A member is drawn for itself, all sigmas together, so that a run that was stopped gives the same bits as one that
    was not. ``told`` goes to the run card.

    Raises:
        ConfigError: the file exists without ``overwrite``, or members of another run lie beside it.
        DataError: the system refused to write.
    """
    report = progress or (lambda stage, share: None)
    parts = Parts(path, drawing.question(source), overwrite=overwrite)
    wanted = range(drawing.members)
    missing = [member for member in wanted if not parts.has(member)]
    for place, member in enumerate(missing):

        def of_member(stage: str, share: float, place: int = place, member: int = member) -> None:
            report(f"member {member + 1} of {drawing.members}, {stage}", 0.9 * (place + share) / len(missing))

        drawn = source.draw(
            drawing.sigmas, [member], steps=drawing.steps, seed=drawing.seed, progress=of_member
        )
        parts.put(member, list(drawn))
    field = source.field([each for member in wanted for each in parts.get(member)], **told)
    write_forecast(
        field,
        path,
        overwrite=overwrite,
        progress=lambda stage, share: report(stage, 0.9 + 0.1 * share),
    )
    parts.remove()
    return field, drawing.members - len(missing)
