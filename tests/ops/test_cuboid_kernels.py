"""The Triton kernels against the reference: in Triton's interpreter on a CPU, compiled on a GPU."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from geoscope.ops.cuboid_attention import Cuboids, cuboid_attention
from tests.ops.attention_cases import CASES, DEVICE, Case, assert_as_good_as_the_reference, randn

pytest.importorskip("triton", reason="the kernels need Triton")


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch) -> Iterator[None]:
    """Memory that PyTorch hands out is full of NaN: what a kernel leaves out shows."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # a GPU asks for it then
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_new_memory_is_poisoned_and_no_input_is_contiguous():
    assert torch.zeros(1).new_empty(3).isnan().all()
    tensors = CASES["mixed, with more extra keys than a tile has columns"].tensors(torch.float32)
    assert not any(x.is_contiguous() for x in tensors.values())


@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients_are_as_good_as_those_of_the_reference(name):
    assert_as_good_as_the_reference(CASES[name], "triton", torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    "name",
    ["mixed, with more extra keys than a tile has columns", "another volume in groups, its past filled up"],
)
def test_half_precision_is_as_good_as_that_of_the_reference(name, dtype):
    assert_as_good_as_the_reference(CASES[name], "triton", dtype)


def test_gradients_are_the_same_bits_every_time():
    case = CASES["mixed, with more extra keys than a tile has columns"]
    first, second = (case.results("triton", torch.float32) for _ in range(2))
    for name, x in first.items():
        assert torch.equal(x, second[name]), name


@pytest.mark.skipif(DEVICE == "cuda", reason="float64 is for the interpreter")
def test_gradients_are_those_of_finite_differences():
    case = Case(
        shape=(1, 2, 3),
        cuboids=Cuboids(size=(1, 2, 2), shift=(0, 0, 1), padding="ignore"),
        heads=1,
        widths=(1, 1, 1),
        extra=1,
    )
    tensors = case.tensors(torch.float64)

    def attend(*values):
        return case.attend(dict(zip(tensors, values, strict=True)), "triton")

    assert torch.autograd.gradcheck(attend, tuple(tensors.values()), fast_mode=True)


def test_a_volume_without_a_batch_has_no_result_and_no_gradient():
    x = torch.zeros(0, 1, 2, 2, 1, 4, device=DEVICE, requires_grad=True)
    bias = torch.zeros(1, 4, 4, device=DEVICE, requires_grad=True)
    out = cuboid_attention(x, x, x, Cuboids(size=(1, 2, 2)), bias=bias, impl="triton")
    out.sum().backward()
    assert out.shape == x.shape == x.grad.shape
    assert not bias.grad.any()


def test_a_bias_in_single_precision_serves_half_precision_tensors():
    x = randn(1, 1, 2, 2, 1, 4, seed=1).to(DEVICE, torch.float16)
    bias = randn(1, 4, 4, seed=2).to(DEVICE, torch.float32)
    cuboids = Cuboids(size=(1, 2, 2))
    out = cuboid_attention(x, x, x, cuboids, bias=bias, impl="triton")
    assert out.dtype == torch.float16
    reference = cuboid_attention(x, x, x, cuboids, bias=bias, impl="reference")
    truth = cuboid_attention(*(x.double(),) * 3, cuboids, bias=bias, impl="reference")
    budget = 2 * (reference.double() - truth).abs().max() + torch.finfo(torch.float16).eps
    assert (out.double() - truth).abs().max() <= budget


def test_every_kernel_compiles_for_a_gpu(repository, tmp_path):
    # The interpreter takes Python that the compiler does not: without a GPU this is the only look at the difference.
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = str(repository)
    command = [sys.executable, "tests/ops/compile_kernels.py"]
    done = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    compiled = [line.split()[0] for line in done.stdout.splitlines()]
    assert compiled == ["forward_kernel", "query_kernel", "key_kernel", "bias_kernel", "extra_kernel"]
    shared = [int(line.split()[1].removeprefix("shared=")) for line in done.stdout.splitlines()]
    assert max(shared) <= 99 * 1024  # bytes that every GPU of compute capability 8 and newer gives a program
