"""From the folder of a training run to an entry of a zoo: weights, card and self-check, for `geoscope.load_model`."""

import datetime
import hashlib
import json
import platform
import re
import shutil
from pathlib import Path
from typing import Any

from geoscope.errors import ConfigError, DataError
from geoscope.inference.own_models import answer, load_own, open_weights, self_check_inputs
from geoscope.zoo import self_check
from geoscope.zoo.card_text import to_toml
from geoscope.zoo.cards import CARDS, ModelCard, card, read_card

RECORD = "run.json"  # written by geoscope.training.engine
TOLERANCES = {"mm/h": 0.05, "": 1e-3}


def export_run(run: Path, name: str, out: Path, *, licence: str = "", overwrite: bool = False) -> Path:
    """Write ``out``/NAME.safetensors, NAME.check.safetensors and the card NAME.toml; the path of the card.

    The entry is loaded from there and its self-check done, so what this returns works. What a machine cannot know of
    a model (where it fails, its scores against baselines) is to be written on the card by hand.

    Raises:
        ConfigError: a name that cannot be one, or the entry is there already.
        DataError: ``run`` is not the folder of a finished run.
        WeightsError: its weights cannot be used.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise ConfigError(
            f"--name {name!r}: expected small letters, digits, dots and dashes, such as my-radar-2026"
        )
    record = read_record(run)
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{name}.toml"
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} exists already; choose another --name, or give --overwrite")
    weights = out / f"{name}.safetensors"
    beside = out / f"{name}.safetensors.part"
    shutil.copyfile(run / record["weights"], beside)
    beside.replace(weights)
    blank = ModelCard(name=name, title=name, task="nowcast", kind="learned", summary="")
    model = open_weights(weights, blank, "cpu")
    table = _card_table(name, record, model, weights, licence)
    inputs = self_check_inputs(model)
    self_check.write(out / table["self_check"]["file"], inputs, answer(model, inputs)).chmod(0o644)
    beside = target.with_name(target.name + ".part")
    beside.write_text(to_toml(table), encoding="utf-8")
    beside.replace(target)
    load_own(card(str(target)), "cpu")
    return target


def refresh_entry(target: Path, weights: Path) -> Path:
    """Give a card that was written by hand new weights: sha256, bytes, parameters and self-check; the rest stays.

    ``target`` is the card; ``weights`` are copied to the file that it names. Returns the path of these weights.

    Raises:
        ConfigError: the card has no such line; WeightsError: the weights cannot be used.
    """
    one = card(target.stem if target.resolve().parent == CARDS.resolve() else str(target))
    if one.weights is None or not one.weights.file:
        raise ConfigError(f"{target.name} names no file of weights: add [weights] file first")
    home = one.folder / one.weights.file
    if weights.resolve() != home.resolve():
        shutil.copyfile(weights, home)
    model = open_weights(home, one, "cpu")
    text = target.read_text(encoding="utf-8")
    for key, value in {
        "sha256": f'"{_sha256(home)}"',
        "bytes": str(home.stat().st_size),
        "parameters": str(_parameters(model)),
    }.items():
        text, count = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
        if not count:
            raise ConfigError(f"{target.name} has no line {key!r} to bring up to date: add one")
    target.write_text(text, encoding="utf-8")
    read_card.cache_clear()
    if one.self_check is not None:
        inputs = self_check_inputs(model)
        self_check.write(one, inputs, answer(model, inputs)).chmod(0o644)
    return home


def read_record(run: Path) -> dict[str, Any]:
    """What the training engine wrote of a finished run.

    Raises:
        DataError: it is not there or not readable, or the weights are gone.
    """
    path = run / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        weights = run / record["weights"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{run} is not the folder of a finished run: {RECORD} cannot be used ({type(error).__name__}); let "
            "geoscope train come to its end first"
        ) from None
    if not weights.is_file():
        raise DataError(f"{run}: the weights {record['weights']} are gone; run geoscope train again")
    return record


def _card_table(name: str, record: dict[str, Any], model: Any, weights: Path, licence: str) -> dict[str, Any]:
    is_nowcaster = hasattr(model, "forecast")
    header = getattr(model, "header", None)
    facts: dict[str, Any] = record.get("facts", {})
    table: dict[str, Any] = {
        "name": name,
        "title": facts.get("title", f"{name} ({record['task']})"),
        "task": "nowcast" if is_nowcaster else "frames",
        "kind": "learned",
        "summary": facts.get("summary", f"Trained with geoscope train, task {record['task']}."),
        "architecture": facts.get("architecture", record["task"]),
        "parameters": record["parameters"],
        "licence": licence,
        "forecast_type": "error-minimising",
        "limits": ["Written by geoscope export: nobody has said yet where this model fails."],
        "scores_note": _score_note(record),
    }
    if header is not None:
        table["input"] = _frame_input(header)
        table["output"] = {"quantity": "rain rate", "units": "mm/h", "max_lead_steps": header.out_frames}
    elif is_nowcaster:  # the compact nowcaster: what its shipped card says of its input
        known = card("earthformer-nowcast")
        table["input"] = _fields(known.input)
        table["output"] = _fields(known.output)
    table["weights"] = {
        "file": weights.name,
        "sha256": _sha256(weights),
        "bytes": weights.stat().st_size,
        "format": "safetensors",
    }
    tolerance = TOLERANCES["mm/h" if is_nowcaster else ""]
    table["self_check"] = {"file": f"{name}.check.safetensors", "tolerance": tolerance}
    table["training"] = {
        "data": facts.get("data", []),
        "split": facts.get("split", ""),
        "command": f"geoscope train nowcast --config {record.get('recipe', 'recipe.toml')} --out {name}",
        "seed": record["seed"],
        "date": datetime.date.fromisoformat(record["date"]),
        "duration_minutes": float(record["minutes"]),
        "hardware": record.get("hardware", platform.machine()),
        "note": f"{record['steps']} steps; torch {record['torch']}",
    }
    return table


def _frame_input(header: Any) -> dict[str, Any]:
    around = {
        "interval_minutes": header.interval_minutes,
        "pixel_km": header.pixel_km,
    }
    return {
        "quantity": "rain rate",
        "units": "mm/h",
        "history_frames": header.in_frames,
        "min_frames": header.in_frames,
        **{key: [value, value] for key, value in around.items() if value},
    }


def _score_note(record: dict[str, Any]) -> str:
    if not record.get("monitor") or record.get("best_score") is None:
        return ""
    return (
        f"In validation during training: {record['monitor']} {record['best_score']:.4g} at step {record['best_step']}; "
        "the weights were chosen by it, so it flatters."
    )


def _fields(part: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(part).items()}


def _parameters(model: Any) -> int:
    network = getattr(model, "network", getattr(model, "model", model))
    return sum(p.numel() for p in network.parameters())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
