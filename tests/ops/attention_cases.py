"""Small attentions of every kind, for whatever must mean the same as the reference."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention import Cuboids, ExtraKeys, cuboid_attention

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def randn(*shape: int, seed: int) -> Tensor:
    """Normal numbers in float64 that every device and type starts from."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One attention: the volume, its cuboids, and what comes with it."""

    shape: tuple[int, int, int]
    cuboids: Cuboids
    key_shape: tuple[int, int, int] | None = None
    key_cuboids: Cuboids | None = None
    batch: int = 1
    heads: int = 2
    widths: tuple[int, int, int] = (4, 4, 4)  # of keys, values, extra keys
    extra: int = 0
    has_bias: bool = True
    hidden: float = 0.0  # share of the keys that the mask hides

    def tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """The inputs that have gradients, none of them contiguous."""
        d, e, f = self.widths
        over, keys = (self.batch, *self.shape), (self.batch, *(self.key_shape or self.shape))

        def made(*shape: int, seed: int) -> Tensor:
            return randn(*shape, seed=seed).to(
                DEVICE, dtype
            )  # converted whole: that would make a slice contiguous

        found = {
            "query": made(*over, d, self.heads, seed=1).transpose(-1, -2),
            "key": made(*keys, self.heads, 2 * d, seed=2)[..., ::2],
            "value": made(*keys, self.heads, e + 3, seed=3)[..., 3:],
        }
        if self.has_bias:
            lengths = ((self.key_cuboids or self.cuboids).volume, self.cuboids.volume)
            found["bias"] = made(*lengths, self.heads, seed=4).permute(2, 1, 0)
        if self.extra:
            found["extra_query"] = made(*over, self.heads, f + 1, seed=5)[..., 1:]
            found["extra_key"] = made(self.batch, self.heads, self.extra, f, seed=6).transpose(1, 2)
            found["extra_value"] = made(self.batch, self.extra, self.heads, 2 * e, seed=7)[..., :e]
        return {name: x.detach().requires_grad_() for name, x in found.items()}

    def attend(self, tensors: dict[str, Tensor], impl: str) -> Tensor:
        """The attention of these tensors."""
        keys = self.key_shape or self.shape
        extra = [tensors[name] for name in ("extra_query", "extra_key", "extra_value") if self.extra]
        seen = None
        if self.hidden:
            seen = torch.rand(keys, generator=torch.Generator().manual_seed(8)).to(DEVICE) >= self.hidden
        return cuboid_attention(
            *(tensors[name] for name in ("query", "key", "value")),
            self.cuboids,
            key_cuboids=self.key_cuboids,
            bias=tensors.get("bias"),
            extra=ExtraKeys(*extra) if extra else None,
            key_mask=seen,
            impl=impl,
        )

    def results(self, impl: str, dtype: torch.dtype) -> dict[str, Tensor]:
        """The attention and all its gradients, as float64."""
        tensors = self.tensors(dtype)
        out = self.attend(tensors, impl)
        slope = randn(*out.shape[:-1], 1, seed=9).to(out).expand(out.shape)  # not contiguous either
        grads = torch.autograd.grad(out, list(tensors.values()), slope)
        found = {"out": out.detach(), **dict(zip(tensors, grads, strict=True))}
        assert all(x.dtype == dtype for x in found.values())
        return {name: x.double() for name, x in found.items()}


def assert_as_good_as_the_reference(case: Case, impl: str, dtype: torch.dtype) -> None:
    """The result and every gradient err at most twice as much as the reference in the same type does, plus a rounding.

    In float32 gradients get eight roundings of 1: the kernels take the mean of the slopes as the product of the result
    and its gradient, so what is exactly 0 in the reference is here the difference of two rounded numbers of about 4.
    """
    actual, low = case.results(impl, dtype), case.results("reference", dtype)
    truth = case.results("reference", torch.float64)
    for name, expected in truth.items():
        error = (actual[name] - expected).abs().max().item()
        roundings = 8 if dtype == torch.float32 and name != "out" else 1
        budget = 2 * (low[name] - expected).abs().max().item() + roundings * torch.finfo(dtype).eps
        assert error <= budget, f"{name}: error {error:.2e} over budget {budget:.2e}"


_OLDER = Cuboids(size=(4, 2, 2), shift=(0, 1, 0), padding="ignore", least_groups=2, pad_time_first=True)
_MIXED = ("dilated", "local", "local")
_NONE_FIRST = Cuboids(size=(1, 1, 1), padding="ignore", least_groups=2, pad_time_first=True)

CASES = {
    "one token": Case(shape=(1, 1, 1), cuboids=Cuboids(size=(1, 1, 1)), widths=(1, 1, 1)),
    "many short cuboids in one tile": Case(shape=(5, 2, 7), cuboids=Cuboids(size=(5, 1, 1)), batch=2, heads=1),
    "one past a tile of queries, keys and channels": Case(
        shape=(1, 1, 65), cuboids=Cuboids(size=(1, 1, 65)), heads=1, widths=(17, 17, 1)
    ),
    "shifted, padding is seen": Case(
        shape=(3, 3, 5), cuboids=Cuboids(size=(2, 2, 3), shift=(1, 1, 2)), widths=(3, 5, 1)
    ),
    "shifted, padding is not seen, keys are hidden": Case(
        shape=(3, 3, 5), cuboids=Cuboids(size=(2, 2, 3), shift=(1, 1, 2), padding="ignore"), hidden=0.5
    ),
    "mixed, with more extra keys than a tile has columns": Case(
        shape=(3, 4, 3),
        cuboids=Cuboids(size=(2, 2, 3), shift=(1, 1, 0), strategy=_MIXED),
        extra=17,
        widths=(4, 3, 2),
    ),
    "dilated, with one extra key and hidden keys": Case(
        shape=(1, 6, 4),
        cuboids=Cuboids(size=(1, 3, 2), strategy=("dilated",) * 3),
        extra=1,
        hidden=0.9,
        has_bias=False,
    ),
    "another volume in groups, its past filled up": Case(
        shape=(5, 3, 2),
        cuboids=replace(_OLDER, size=(3, 2, 2), pad_time_first=False),
        key_shape=(7, 3, 2),
        key_cuboids=_OLDER,
    ),
    "queries that see no key": Case(
        shape=(2, 1, 2),
        cuboids=replace(_NONE_FIRST, pad_time_first=False),
        key_shape=(1, 1, 2),
        key_cuboids=_NONE_FIRST,
    ),
    "few vectors look at a whole volume and themselves": Case(
        shape=(3, 1, 1), cuboids=Cuboids(size=(3, 1, 1)), key_shape=(2, 5, 7),
        key_cuboids=Cuboids(size=(2, 6, 8), padding="ignore"), has_bias=False, extra=3,
    ),
}  # fmt: skip
