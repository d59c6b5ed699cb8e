"""Cases of the published diffusion code: where they lie and how they are read."""

import os
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests" / "golden" / "prediff"


def oracle_folder() -> Path:
    folder = Path(os.environ.get("GEOSCOPE_TEST_DATA") or REPOSITORY.parent / "shared")
    return folder / "oracle" / "prediff"


def read_case(name: str, folder: Path | None = None) -> dict:
    return torch.load((folder or oracle_folder()) / f"{name}.pt", weights_only=True)
