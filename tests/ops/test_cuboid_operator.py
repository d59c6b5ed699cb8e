"""The kernels as one operator of PyTorch: its registration, `torch.compile` and `torch.export`."""

import pytest
import torch

from geoscope.ops.cuboid_attention import Cuboids, cuboid_attention
from tests.ops.attention_cases import CASES, DEVICE, Case, randn

pytest.importorskip("triton", reason="the kernels need Triton")
CASE = Case(shape=(2, 3, 3), cuboids=Cuboids(size=(2, 2, 2), shift=(0, 1, 1), padding="ignore"), extra=2)


def arguments(case: Case) -> tuple:
    """What the operator takes for a case."""
    from geoscope.ops.cuboid_attention.kernels.custom_op import _written

    tensors = case.tensors(torch.float32)
    cuboids = _written(case.cuboids), _written(case.key_cuboids or case.cuboids)
    names = ("query", "key", "value", "bias", "key_mask", "extra_query", "extra_key", "extra_value")
    return (*(tensors.get(name) for name in names), *cuboids, 0.5)


def test_the_operator_is_registered_as_pytorch_wants_it():
    given = arguments(CASE)  # what it imports registers the operator
    checks = torch.library.opcheck(torch.ops.geoscope.cuboid_attention.default, given)
    assert set(checks.values()) == {"SUCCESS"}


def test_cuboids_go_through_the_operator_unchanged():
    from geoscope.ops.cuboid_attention.kernels.custom_op import _read, _written

    for case in CASES.values():
        assert _read(_written(case.cuboids)) == case.cuboids
        assert case.key_cuboids is None or _read(_written(case.key_cuboids)) == case.key_cuboids


def test_a_compiled_function_is_one_graph_with_the_same_gradients():
    tensors = CASE.tensors(torch.float32)
    compiled = torch.compile(lambda x: CASE.attend(x, "triton"), backend="aot_eager", fullgraph=True)
    plain = CASE.attend(tensors, "triton")
    out = compiled(tensors)
    assert torch.equal(out, plain)
    both = [torch.autograd.grad(x.sum(), list(tensors.values())) for x in (out, plain)]
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


class _Layer(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cuboid_attention(x, x, x, Cuboids(size=(1, 2, 2), shift=(0, 1, 1)), impl="triton")


def test_an_exported_layer_holds_one_node_and_gives_the_same():
    x = randn(1, 1, 3, 3, 1, 4, seed=1).to(DEVICE, torch.float32)
    program = torch.export.export(_Layer(), (x,))
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert sum("geoscope.cuboid_attention" in target for target in targets) == 1
    assert torch.equal(program.module()(x), _Layer()(x))
