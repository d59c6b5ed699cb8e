"""Noise that belongs to a member, not to the batch that the member happens to be computed in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geoscope.errors import ConfigError

FIRST = "first"


@dataclass(frozen=True)
class MemberNoise:
    """Unit noise for chosen ``members`` of an ensemble, each ``shape`` = (T, H, W, C) or any other.

    The noise of a member at a step is a function of ``seed``, the member's number and the step alone: the same
    whatever other members are in the batch, in whichever order, on whichever device. It is drawn on the CPU in
    float32. The object is itself the ``step_noise`` of a sampler.
    """

    seed: int
    members: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.members or min(self.members) < 0:
            raise ConfigError(f"members={self.members} must be one or more numbers from 0 on")
        if not self.shape or min(self.shape) < 1:
            raise ConfigError(f"shape={self.shape} must be the shape of one member, all lengths 1 or more")

    def first(self) -> Tensor:
        """The noise that the chain begins with, (members, *shape)."""
        return self._drawn(FIRST)

    def __call__(self, step: int) -> Tensor:
        """The noise that step number ``step`` adds, (members, *shape)."""
        return self._drawn(str(step))

    def _drawn(self, purpose: str) -> Tensor:
        each = [
            torch.randn(self.shape, generator=_generator(self.seed, member, purpose))
            for member in self.members
        ]
        return torch.stack(each).to(self.device, self.dtype)


def member_noise(
    seed: int, members: int | Sequence[int], shape: Sequence[int], like: Tensor | None = None
) -> MemberNoise:
    """`MemberNoise` for the first so many ``members``, or for those listed; dtype and device of ``like``.

    Raises:
        ConfigError: no member, or a shape without elements.
    """
    listed = tuple(range(members)) if isinstance(members, int) else tuple(members)
    if like is None:
        return MemberNoise(seed, listed, tuple(shape))
    return MemberNoise(seed, listed, tuple(shape), like.dtype, str(like.device))


def _generator(seed: int, member: int, purpose: str) -> torch.Generator:
    # A hash, because generators seeded with neighbouring numbers must not give related noise.
    digest = hashlib.blake2b(f"{seed}/{member}/{purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
