"""Every case of the published code that lies beside the repository, in both precisions, with gradients."""

import pytest
import torch

from geoscope.models.earthformer.checkpoints import published_name
from tests.models.earthformer.oracle import (
    GOLDEN,
    TOLERANCE,
    assert_agrees,
    assert_gradients_agree,
    build_layer,
    build_model,
    case_names,
    read_case,
    run_layer,
)

LAYER_GROUPS = (
    "self_attention_layer",
    "cross_attention_layer",
    "stack_block_patterns",
    "stack_block_variants",
    "ffn",
    "patch_merging",
    "upsample",
    "posembed",
)
GOLDEN_NAMES = sorted(path.stem for path in GOLDEN.glob("*.pt"))


def _check_layer(case: dict) -> None:
    layer, names = build_layer(case)
    for dtype, stored in ((torch.float32, "outputs"), (torch.float64, "outputs64")):
        layer = layer.to(dtype)
        with torch.no_grad():
            outputs = run_layer(layer, {key: value.to(dtype) for key, value in case["inputs"].items()})
        assert len(outputs) == len(case[stored])
        for i, (actual, expected) in enumerate(zip(outputs, case[stored], strict=True)):
            assert_agrees(actual, expected, TOLERANCE[dtype], f"output {i} in {dtype}")
    if case.get("param_grads64") is not None:
        assert_gradients_agree(layer, names, case, run_layer)


def _run_model(model, inputs):
    return [model(inputs["x"])]


def _check_model(case: dict) -> None:
    for dtype, stored in ((torch.float32, "outputs"), (torch.float64, "outputs64")):
        model = build_model(case).to(dtype)
        with torch.no_grad():
            actual = model(case["inputs"]["x"].to(dtype))
        assert_agrees(actual, case[stored][0], TOLERANCE[dtype], f"output in {dtype}")
    if case.get("param_grads64") is not None:
        stacked = case["kwargs"].get("initial_downsample_type") == "stack_conv"
        names = {
            name: published_name(name, model.config, is_stacked=stacked)
            for name, _ in model.named_parameters()
        }
        assert_gradients_agree(model, names, case, _run_model)


@pytest.mark.parametrize("name", case_names(*LAYER_GROUPS))
def test_a_layer_gives_what_the_published_layer_gave(shared, name):
    _check_layer(read_case(shared / "oracle" / "earthformer" / f"{name}.pt"))


@pytest.mark.parametrize("name", case_names("model"))
def test_a_model_gives_what_the_published_model_gave(shared, name):
    _check_model(read_case(shared / "oracle" / "earthformer" / f"{name}.pt"))


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_a_clone_agrees_with_the_published_code_on_the_cases_that_ship(name):
    case = read_case(GOLDEN / f"{name}.pt")
    (_check_model if case["class"] == "CuboidTransformerModel" else _check_layer)(case)


def test_the_cases_that_ship_are_there():
    assert len(GOLDEN_NAMES) >= 6
