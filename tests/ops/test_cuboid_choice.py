"""Which implementation runs, and what each refuses: an error that says why and what to do, never a silent change."""

import pytest
import torch

from geoscope.errors import ConfigError, MissingExtraError
from geoscope.ops.cuboid_attention import Cuboids, ExtraKeys, choice, cuboid_attention, record_attention
from geoscope.ops.cuboid_attention.choice import choose, triton_refusal
from geoscope.ops.cuboid_attention.proof import kernels_agree
from geoscope.ops.cuboid_attention.request import Request
from tests.ops.attention_cases import DEVICE

X = torch.zeros(1, 1, 4, 4, 2, 3)
ON_DEVICE = X.to(DEVICE)
WINDOW = Cuboids(size=(1, 2, 2))
G = X[0, 0, :1]


def request(x: torch.Tensor = X, **options) -> Request:
    return Request(x, x, x, WINDOW, WINDOW, 1.0, **options)


def test_on_a_cpu_auto_is_the_path_made_for_cpus_and_the_reference_while_recording():
    assert choose("auto", request()) == "cpu"
    with record_attention(lambda _: None):
        assert choose("auto", request()) == "reference"


def test_on_a_gpu_auto_is_triton_where_the_kernels_can_do_it(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_cuda", True, raising=False)
    monkeypatch.setattr(choice, "triton_refusal", lambda _: None)
    monkeypatch.setattr(choice, "kernels_agree", lambda _: True)
    assert choose("auto", request()) == "triton"
    monkeypatch.setattr(choice, "kernels_agree", lambda _: False)
    assert choose("auto", request()) == "cpu"
    monkeypatch.setattr(choice, "triton_refusal", lambda _: ConfigError("no"))
    assert choose("auto", request()) == "cpu"


def test_kernels_that_agree_with_the_reference_are_relied_on():
    pytest.importorskip("triton")
    assert kernels_agree.__wrapped__(torch.device(DEVICE))


@pytest.mark.parametrize(
    "wrong", [lambda asked: (asked.query + asked.key + asked.value) / 3, lambda asked: 1 / 0]
)
def test_kernels_that_fail_or_differ_are_warned_of_and_left(monkeypatch, wrong):
    pytest.importorskip("triton")
    from geoscope.ops.cuboid_attention.kernels import custom_op

    monkeypatch.setattr(custom_op, "attend", wrong)
    with pytest.warns(RuntimeWarning, match=r"do not work on \w+ \((they differ|ZeroDivisionError)"):
        assert not kernels_agree.__wrapped__(torch.device(DEVICE))


@pytest.mark.parametrize("impl", ["cpu", "triton"])
def test_what_keeps_no_weights_is_refused_while_recording(impl):
    with (
        record_attention(lambda _: None),
        pytest.raises(ConfigError, match=f"impl='{impl}' keeps no weights"),
    ):
        cuboid_attention(X, X, X, WINDOW, impl=impl)


def test_triton_is_refused_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(choice, "HAS_TRITON", False)
    with pytest.raises(MissingExtraError, match=r"needs Triton: pip install triton"):
        cuboid_attention(X, X, X, WINDOW, impl="triton")
    assert choose("auto", request()) == "cpu"


def wide(channels: int) -> torch.Tensor:
    return torch.zeros(1, 1, 2, 2, 1, channels, device=DEVICE)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (request(ON_DEVICE.long()), "takes float32, bfloat16, float16.* and query is torch.int64"),
        (request(ON_DEVICE, dropout=0.5), "has no dropout and got 0.5"),
        (request(wide(257)), "heads of at most 256 channels and got 257"),
        (
            request(extra=ExtraKeys(wide(300), wide(300)[:, 0, 0], G.to(DEVICE))),
            "at most 256 channels and got 300",
        ),
        (request(wide(1)[:, :, :1, :1].expand(2**20, 1, 64, 64, 64, 1)), "programs in one launch"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused_with_the_cure(asked, message):
    pytest.importorskip("triton")
    with pytest.raises(ConfigError, match=message):
        choose("triton", asked)


def test_cpu_tensors_are_refused_outside_the_interpreter(monkeypatch):
    pytest.importorskip("triton")
    from geoscope.ops.cuboid_attention.kernels import launch

    monkeypatch.setattr(launch, "IS_INTERPRETED", False)
    with pytest.raises(
        ConfigError, match="needs CUDA tensors and query lies on cpu: move the tensors to a GPU"
    ):
        cuboid_attention(X, X, X, WINDOW, impl="triton")


def test_a_gpu_that_is_too_old_is_refused(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.Tensor, "is_cuda", True, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert "compute capability 8.0" in str(triton_refusal(request()))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, X.double(), X), {}, "key is torch.float64 and query torch.float32: convert them to one type"),
        ((X, X, X), {"extra": ExtraKeys(X, G.half(), G)}, "extra key is torch.float16"),
        ((X, X, X), {"bias": torch.zeros(2, 4, 4).half()}, "bias is torch.float16"),
        ((X, X, X), {"key_mask": torch.zeros(1, 4, 4)}, "key_mask is torch.float32: give torch.bool"),
        ((X, X, X.to("meta")), {}, "value lies on meta and query on cpu"),
    ],
)
def test_several_types_or_devices_are_refused_by_name(arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        cuboid_attention(*arguments, WINDOW, **options)
