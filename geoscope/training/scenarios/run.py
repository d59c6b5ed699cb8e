"""From a folder of events to the weights of a scenario model: the stages of one run, one after the other."""

from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from geoscope.models.nowcaster.checkpoints import load_nowcaster
from geoscope.models.scenarios.checkpoints import save_scenarios
from geoscope.models.scenarios.networks import ScenarioModel, ScoreAutoencoder
from geoscope.training.engine import Progress, Settings, Task, fit
from geoscope.training.scenarios.alignment import ScenarioAlignmentTask
from geoscope.training.scenarios.autoencoder import WEIGHTS, ScoreAutoencoderTask, write_weights
from geoscope.training.scenarios.cases import Case, Cutter, cut_cases, open_cases
from geoscope.training.scenarios.denoiser import ScenarioDenoiserTask
from geoscope.training.scenarios.outlook import fit_outlook, rows_of, seen_sigmas, write_outlook
from geoscope.training.scenarios.quantiles import drawn_and_seen
from geoscope.training.scenarios.recipe import Plan
from geoscope.training.scenarios.stages import digest, listing, once
from geoscope.training.scenarios.texture import texture_of
from geoscope.zoo.cards import card

SHARES = {  # of the time, about
    "cases": (0.0, 0.1),
    "autoencoder": (0.1, 0.3),
    "denoiser": (0.3, 0.8),
    "alignment": (0.8, 0.98),
    "outlook": (0.98, 0.99),
    "texture": (0.99, 0.995),
    "quantiles": (0.995, 1.0),
}
Module = TypeVar("Module", bound=nn.Module)


class ScenarioRun:
    """A run of ``plan`` in the folder ``out``, a folder for each stage; what is there is not done again."""

    def __init__(self, plan: Plan, out: Path, progress: Progress) -> None:
        self.plan, self.out, self.progress = plan, out, progress
        self.config = plan.recipe.config

    def run(self) -> Path:
        """All stages, and the one file of weights that comes of them, ``out``/model.safetensors.

        Raises:
            ConfigError: ``out`` holds a run of another recipe; DataError: the events do not suffice; TrainingError,
                Cancelled: see `geoscope.training.engine.fit`.
        """
        torch.set_num_threads(self.plan.recipe.threads)
        cases, told = self._cases()
        config, plan = self.config, self.plan
        settings, autoencoder = plan.autoencoder
        task = ScoreAutoencoderTask(config, cases, autoencoder, settings)
        first = self._network("autoencoder", task, settings, digest(told, asdict(autoencoder)))
        encoder = _loaded(ScoreAutoencoder(config), first)
        settings, windows = plan.denoiser
        task = ScenarioDenoiserTask(config, cases, encoder, windows, settings)
        second = self._network("denoiser", task, settings, digest(told, first, asdict(windows)))
        settings, regions = plan.alignment
        task = ScenarioAlignmentTask(config, cases, encoder, regions, settings)
        third = self._network("alignment", task, settings, digest(told, first, asdict(regions)))
        outlook = self._outlook(cases, told)
        texture = self._texture(cases, encoder, digest(told, first))
        model = ScenarioModel(config).eval()
        model.autoencoder = encoder
        _loaded(model.denoiser, second)
        _loaded(model.alignment, third)
        _loaded(model.outlook, outlook)
        model.texture.copy_(load_file(texture)["texture"])
        quantiles = self._quantiles(model, cases, digest(told, second, texture))
        for name, value in load_file(quantiles).items():
            getattr(model, name).copy_(value)
        seen = seen_sigmas(outlook.parent)
        if seen is not None:
            model.seen_sigmas.copy_(torch.tensor(seen))
        result = self.out / WEIGHTS
        save_scenarios(model, result)
        return result

    def _told(self, stage: str) -> Progress:
        low, high = SHARES[stage]

        def progress(what: str, share: float) -> None:
            self.progress(f"{stage}: {what}", low + (high - low) * share)

        return progress

    def _cases(self) -> tuple[list[Case], str]:
        """The cases, and what stands for them."""
        plan, recipe, folder = self.plan, self.plan.recipe, self.out / "cases"
        model_card = card(self.config.nowcaster)
        sha = model_card.weights.sha256 if model_card.weights else ""
        settings = [asdict(recipe.cases), recipe.censored, recipe.seed, self.config.cell, sha]
        told = digest(listing(plan.paths), settings)
        device = "cuda" if torch.cuda.is_available() else "cpu"

        def make() -> None:
            cutter = Cutter(load_nowcaster(model_card, device), recipe.cases, self.config.cell, recipe.seed)
            cut_cases(cutter, plan.paths, recipe.censored, folder, self._told("cases"))

        once(folder, made_from=told, settings=told, result=folder, make=make)
        return open_cases(folder, [path.stem for path in plan.paths]), told

    def _network(self, stage: str, task: Task, settings: Settings, made_from: str) -> Path:
        folder = self.out / stage

        def make() -> None:
            fit(task, settings, folder, self._told(stage))

        return once(
            folder, made_from=made_from, settings=asdict(settings), result=folder / WEIGHTS, make=make
        )

    def _outlook(self, cases: list[Case], told: str) -> Path:
        plan, folder = self.plan, self.out / "outlook"
        table = plan.recipe.outlook

        def make() -> None:
            self._told("outlook")("fitting", 0.0)
            write_outlook(*fit_outlook(rows_of(cases, plan.rule), table, plan.recipe.seed), folder)

        rule = asdict(plan.rule)
        return once(
            folder,
            made_from=told,
            settings=[asdict(table), rule, plan.recipe.seed],
            result=folder / WEIGHTS,
            make=make,
        )

    def _texture(self, cases: list[Case], encoder: ScoreAutoencoder, made_from: str) -> Path:
        folder = self.out / "texture"

        def make() -> None:
            self._told("texture")("fitting", 0.0)
            write_weights(_holding(texture=texture_of(encoder, cases)), folder / WEIGHTS)

        return once(folder, made_from=made_from, settings=None, result=folder / WEIGHTS, make=make)

    def _quantiles(self, model: ScenarioModel, cases: list[Case], made_from: str) -> Path:
        folder, seed = self.out / "quantiles", self.plan.recipe.seed

        def make() -> None:
            self._told("quantiles")("drawing a member of each event", 0.0)
            found = drawn_and_seen(model, cases, seed) or (model.drawn_quantiles, model.seen_quantiles)
            write_weights(_holding(drawn_quantiles=found[0], seen_quantiles=found[1]), folder / WEIGHTS)

        return once(folder, made_from=made_from, settings=seed, result=folder / WEIGHTS, make=make)


def _holding(**values: Tensor) -> nn.Module:
    """A module that holds numbers and nothing else."""
    module = nn.Module()
    for name, value in values.items():
        module.register_buffer(name, value)
    return module


def _loaded(network: Module, path: Path) -> Module:
    network.load_state_dict(load_file(path))
    return network.eval()
