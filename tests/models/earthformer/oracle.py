"""Cases computed once with the published code: how they are read, built and compared.

A case holds `kwargs` (JSON), `params`, `inputs`, `outputs`, `outputs64` and often gradients of the loss
sum(out * cos(arange)). The layers of the published code have arguments of their own, translated here.
"""

import json
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from geoscope.models.earthformer.checkpoints import from_published
from geoscope.nn.cuboid_blocks import FeedForwardOptions, SelfAttentionBlock
from geoscope.nn.cuboid_cross_attention import CrossCuboids, CuboidCrossAttention
from geoscope.nn.cuboid_self_attention import AttentionOptions, CuboidSelfAttention, GlobalVectors
from geoscope.nn.feed_forward import FeedForward
from geoscope.nn.position_embedding import PositionEmbedding
from geoscope.nn.published_layers import load_strictly, published_layer_name
from geoscope.nn.resampling import PatchMerging, Upsample
from geoscope.ops.cuboid_attention import Cuboids

REPOSITORY = Path(__file__).resolve().parents[3]
GOLDEN = REPOSITORY / "tests" / "golden" / "earthformer"
STRATEGY = {"l": "local", "d": "dilated"}
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def oracle_folder() -> Path:
    folder = Path(os.environ.get("GEOSCOPE_TEST_DATA") or REPOSITORY.parent / "shared")
    return folder / "oracle" / "earthformer"


def case_names(*groups: str) -> list[str]:
    """The cases that lie beside the repository, for parametrising; without them one name that is skipped."""
    files = [path for group in groups for path in sorted(oracle_folder().glob(f"{group}/*.pt"))]
    return [f"{path.parent.name}/{path.stem}" for path in files] or ["none"]


def read_case(path: Path) -> dict:
    case = torch.load(path, weights_only=True)
    case["kwargs"] = json.loads(case["kwargs"])
    return case


def _cuboids(size, strategy=("l", "l", "l"), shift=(0, 0, 0), padding="ignore") -> Cuboids:
    ways = tuple(STRATEGY[way] for way in strategy)
    return Cuboids(size=tuple(size), strategy=ways, shift=tuple(shift), padding=padding)


def _vectors(kwargs: dict) -> GlobalVectors | None:
    if not kwargs.get("use_global_vector", False):
        return None
    return GlobalVectors(
        separate=kwargs.get("separate_global_qkv", False),
        self_attention=kwargs.get("use_global_self_attn", False),
        ratio=kwargs.get("global_dim_ratio", 1),
    )


def _options(kwargs: dict) -> AttentionOptions:
    return AttentionOptions(
        heads=kwargs["num_heads"],
        qkv_bias=kwargs.get("qkv_bias", False),
        relative_positions=kwargs.get("use_relative_pos", True),
        final_projection=kwargs.get("use_final_proj", True),
        match_published=True,
    )


def _self_attention(kwargs: dict) -> nn.Module:
    cuboids = _cuboids(
        kwargs["cuboid_size"],
        kwargs["strategy"],
        kwargs.get("shift_size", (0, 0, 0)),
        kwargs.get("padding_type", "ignore"),
    )
    return CuboidSelfAttention(kwargs["dim"], cuboids, _options(kwargs), _vectors(kwargs))


def _cross_attention(kwargs: dict) -> nn.Module:
    cuboids = CrossCuboids(
        size=tuple(kwargs["cuboid_hw"]),
        strategy=tuple(STRATEGY[way] for way in kwargs["strategy"]),
        shift=tuple(kwargs.get("shift_hw", (0, 0))),
        groups=kwargs.get("n_temporal", 1),
        padding=kwargs.get("padding_type", "ignore"),
    )
    return CuboidCrossAttention(
        kwargs["dim"],
        cuboids,
        kwargs["max_temporal_relative"],
        _options(kwargs),
        global_vectors=_vectors(kwargs),
        last_frames=kwargs.get("cross_last_n_frames"),
    )


def _block(kwargs: dict) -> nn.Module:
    lists = (kwargs["block_cuboid_size"], kwargs["block_strategy"], kwargs["block_shift_size"])
    padding = kwargs.get("padding_type", "ignore")
    return SelfAttentionBlock(
        kwargs["dim"],
        [_cuboids(size, way, shift, padding) for size, way, shift in zip(*lists, strict=True)],
        _options(kwargs),
        FeedForwardOptions(
            activation=kwargs.get("activation", "leaky"),
            gated=kwargs.get("gated_ffn", False),
            after_each=kwargs["use_inter_ffn"],
            for_globals=kwargs.get("use_global_vector_ffn", True) and kwargs.get("use_global_vector", False),
        ),
        _vectors(kwargs),
    )


def _feed_forward(kwargs: dict) -> nn.Module:
    return FeedForward(
        kwargs["units"],
        kwargs["hidden_size"],
        activation_name=kwargs["activation"],
        gated=kwargs["gated_proj"],
    )


def _patch_merging(kwargs: dict) -> nn.Module:
    factor = tuple(kwargs.get("downsample", (1, 2, 2)))
    return PatchMerging(kwargs["dim"], kwargs.get("out_dim", max(factor) * kwargs["dim"]), factor)


class _FixedUpsample(nn.Module):
    def __init__(self, kwargs: dict) -> None:
        super().__init__()
        self.layer = Upsample(kwargs["dim"], kwargs["out_dim"], kernel=kwargs.get("kernel_size", 3))
        self.size = tuple(kwargs["target_size"][1:])

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.size)


def _positions(kwargs: dict) -> nn.Module:
    return PositionEmbedding(
        kwargs["embed_dim"], (kwargs["maxT"], kwargs["maxH"], kwargs["maxW"]), kwargs["typ"]
    )


BUILDERS = {
    "CuboidSelfAttentionLayer": _self_attention,
    "CuboidCrossAttentionLayer": _cross_attention,
    "StackCuboidSelfAttentionBlock": _block,
    "PositionwiseFFN": _feed_forward,
    "PatchMerging3D": _patch_merging,
    "Upsample3DLayer": _FixedUpsample,
    "PosEmbed": _positions,
}
RENAMED = {
    "layer.conv": "conv",
    "reduce.": "reduction.",
    "time.": "T_embed.",
    "rows.": "H_embed.",
    "columns.": "W_embed.",
    "pixels.": "HW_embed.",
}


def layer_name(kind: str, name: str) -> str:
    """The published name of a parameter of a layer that stands alone."""
    if "Attention" in kind and "Layer" in kind:
        return published_layer_name(f"attentions.0.{name}").removeprefix("attn_l.0.")
    if kind == "PositionwiseFFN":
        return published_layer_name(f"feed_forwards.0.{name}").removeprefix("ffn_l.0.")
    if kind == "StackCuboidSelfAttentionBlock":
        return published_layer_name(name)
    for ours, theirs in RENAMED.items():
        name = name.replace(ours, theirs)
    return name


def build_layer(case: dict) -> tuple[nn.Module, dict[str, str]]:
    """The layer of a case with its weights, and the published name of each of our parameters."""
    kind = case["class"]
    layer = BUILDERS[kind](case["kwargs"])
    names = {name: layer_name(kind, name) for name, _ in layer.named_parameters()}
    load_strictly(layer, case["params"], names, {})
    return layer.eval(), names


def run_layer(layer: nn.Module, inputs: dict[str, Tensor]) -> list[Tensor]:
    out = layer(*inputs.values())
    return [each for each in (out if isinstance(out, tuple) else (out,)) if each is not None]


def build_model(case: dict) -> nn.Module:
    return from_published(case["kwargs"], case["params"])


def assert_agrees(actual: Tensor, expected: Tensor, tolerance: float, what: str = "output") -> None:
    """Equal to within ``tolerance`` of the largest expected value."""
    assert actual.shape == expected.shape, what
    error = (actual.double() - expected.double()).abs().max().item()
    scale = expected.abs().max().item()
    assert error <= tolerance * max(scale, 1e-12), f"{what}: off by {error:.2e} of {scale:.2e}"


def loss_of(outputs: list[Tensor]) -> Tensor:
    """sum of out * cos(arange), the scalar that the stored gradients belong to."""
    return sum(
        (out * torch.arange(out.numel(), dtype=out.dtype).view(out.shape).cos()).sum() for out in outputs
    )


def assert_gradients_agree(module: nn.Module, names: dict[str, str], case: dict, run) -> None:
    """Gradients of inputs and parameters in float64; parameters that never get one are the same ones."""
    module = module.double()
    inputs = {key: value.double().requires_grad_() for key, value in case["inputs"].items()}
    module.zero_grad()
    loss = loss_of(run(module, inputs))
    loss.backward()
    assert_agrees(loss.detach(), torch.as_tensor(case["loss64"]), 1e-9, "loss")
    for key, expected in case["input_grads64"].items():
        assert_agrees(inputs[key].grad, expected, 1e-9, f"gradient of {key}")
    largest = max(g.abs().max().item() for g in case["param_grads64"].values())
    for name, parameter in module.named_parameters():
        theirs = names[name]
        if theirs in (case["params_without_grad"] or []):
            assert parameter.grad is None or not parameter.grad.any(), theirs
            continue
        expected = case["param_grads64"][theirs]
        error = (parameter.grad - expected).abs().max().item()
        assert error <= 1e-9 * max(expected.abs().max().item(), 1e-6 * largest), f"gradient of {theirs}"
