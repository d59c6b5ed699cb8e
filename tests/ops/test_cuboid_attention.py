"""The operation: values worked by hand, its two implementations, its gradients, and what it refuses."""

import math
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoscope.errors import ConfigError, ShapeError
from geoscope.ops.cuboid_attention import Cuboids, ExtraKeys, cuboid_attention, record_attention
from tests.ops.attention_cases import CASES, assert_as_good_as_the_reference

AXES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5))


def volume(*shape: int, heads: int = 2, channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, heads, channels, generator=generator, dtype=torch.float64)


def row(*values: float) -> torch.Tensor:
    """One head of one channel along W: (1, 1, 1, W, 1, 1)."""
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1, 1, 1)


def test_two_tokens_by_hand():
    # Scores q*k: for q = 1, keys 0 and ln 3 weigh 1/4 and 3/4, so values 10 and 2 give 4.
    q, k, v = row(1.0, 0.0), row(0.0, math.log(3.0)), row(10.0, 2.0)
    out = cuboid_attention(q, k, v, Cuboids(size=(1, 1, 2)), impl="reference")
    assert out.flatten().tolist() == pytest.approx([4.0, 6.0])


def test_cuboids_do_not_see_each_other():
    q, v = row(0.0, 0.0, 0.0, 0.0), row(1.0, 3.0, 10.0, 20.0)
    local = cuboid_attention(q, q, v, Cuboids(size=(1, 1, 2)))
    dilated = cuboid_attention(q, q, v, Cuboids(size=(1, 1, 2), strategy=("local", "local", "dilated")))
    assert local.flatten().tolist() == pytest.approx([2.0, 2.0, 15.0, 15.0])
    assert dilated.flatten().tolist() == pytest.approx([5.5, 11.5, 5.5, 11.5])


def test_a_shift_moves_the_windows_but_not_around_the_edge():
    q, v = row(0.0, 0.0, 0.0, 0.0), row(1.0, 3.0, 10.0, 20.0)
    shifted = cuboid_attention(q, q, v, Cuboids(size=(1, 1, 2), shift=(0, 0, 1)))
    assert shifted.flatten().tolist() == pytest.approx([1.0, 6.5, 6.5, 20.0])


def test_zero_padding_takes_weight_and_ignored_padding_does_not():
    q, v = row(0.0, 0.0, 0.0), row(2.0, 4.0, 8.0)
    zeros = cuboid_attention(q, q, v, Cuboids(size=(1, 1, 2), padding="zeros"))
    ignored = cuboid_attention(q, q, v, Cuboids(size=(1, 1, 2), padding="ignore"))
    assert zeros.flatten().tolist() == pytest.approx([3.0, 3.0, 4.0])
    assert ignored.flatten().tolist() == pytest.approx([3.0, 3.0, 8.0])


def test_extra_keys_share_the_softmax_of_every_cuboid():
    q, v = row(0.0, 0.0), row(3.0, 6.0)
    extra = ExtraKeys(
        q, torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.full((1, 1, 1, 1), 30.0).double()
    )
    out = cuboid_attention(q, q, v, Cuboids(size=(1, 1, 1)), extra=extra)
    assert out.flatten().tolist() == pytest.approx([16.5, 18.0])


def test_a_masked_key_is_never_seen():
    q, v = row(0.0, 0.0, 0.0), row(2.0, 4.0, 8.0)
    seen = torch.tensor([[[True, False, True]]])
    out = cuboid_attention(q, q, v, Cuboids(size=(1, 1, 3)), key_mask=seen)
    assert out.flatten().tolist() == pytest.approx([5.0, 5.0, 5.0])
    padded = cuboid_attention(q, q, v, Cuboids(size=(1, 1, 4)), key_mask=seen)
    assert padded.flatten().tolist() == pytest.approx([10.0 / 3] * 3)  # the zero that pads is still seen
    nothing = cuboid_attention(q, q, v, Cuboids(size=(1, 1, 3)), key_mask=torch.zeros_like(seen))
    assert nothing.flatten().tolist() == [0.0, 0.0, 0.0]


def test_one_cuboid_over_everything_is_plain_attention():
    q, k, v = (volume(2, 2, 3, 4, seed=seed) for seed in range(3))
    out = cuboid_attention(q, k, v, Cuboids(size=(2, 3, 4)), impl="reference")
    flat = [x.flatten(1, 3).transpose(1, 2) for x in (q, k, v)]  # (B, heads, L, D)
    plain = torch.nn.functional.scaled_dot_product_attention(*flat)
    torch.testing.assert_close(out.flatten(1, 3).transpose(1, 2), plain)


def test_a_frame_in_windows_is_window_attention():
    # Swin: T = 1 and (M, M) windows; each window alone must give the same.
    q, k, v = (volume(1, 1, 4, 6, seed=seed) for seed in range(3))
    whole = cuboid_attention(q, k, v, Cuboids(size=(1, 2, 3)))
    for i in (0, 2):
        for j in (0, 3):
            corner = [x[:, :, i : i + 2, j : j + 3] for x in (q, k, v)]
            alone = cuboid_attention(*corner, Cuboids(size=(1, 2, 3)))
            torch.testing.assert_close(whole[:, :, i : i + 2, j : j + 3], alone)


@given(
    shape=AXES,
    size=AXES,
    shift=st.tuples(*(st.integers(0, 2) for _ in range(3))),
    ways=st.tuples(*(st.sampled_from(["local", "dilated"]) for _ in range(3))),
    padding=st.sampled_from(["zeros", "ignore"]),
    has_bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_path_made_for_cpus_means_what_the_reference_means(
    shape, size, shift, ways, padding, has_bias, seed
):
    cuboids = Cuboids(size=size, shift=shift, strategy=ways, padding=padding).fit(shape)
    q, k, v = (volume(2, *shape, seed=seed + i) for i in range(3))
    generator = torch.Generator().manual_seed(seed)
    bias = torch.randn(2, cuboids.volume, cuboids.volume, generator=generator).double() if has_bias else None
    reference = cuboid_attention(q, k, v, cuboids, bias=bias, impl="reference")
    fused = cuboid_attention(q, k, v, cuboids, bias=bias, impl="cpu")
    torch.testing.assert_close(fused, reference, rtol=1e-12, atol=1e-12)
    assert torch.isfinite(fused).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_the_path_made_for_cpus_is_as_good_as_the_reference(name, dtype):
    assert_as_good_as_the_reference(CASES[name], "cpu", dtype)


@pytest.mark.parametrize("size", [(1, 2, 2), (3, 10, 10)])
def test_bfloat16_without_extra_keys_is_as_good_as_the_reference(size):
    q, k, v = (volume(1, 3, 10, 10, channels=4, seed=seed) for seed in range(3))
    low = [x.to(torch.bfloat16) for x in (q, k, v)]
    truth = cuboid_attention(*(x.double() for x in low), Cuboids(size=size), impl="reference")
    errors = [
        (cuboid_attention(*low, Cuboids(size=size), impl=impl).double() - truth).abs().max()
        for impl in ("cpu", "reference")
    ]
    assert errors[0] <= 2 * errors[1] + torch.finfo(torch.bfloat16).eps


def test_a_query_without_any_key_gives_zero_in_both_implementations():
    q, memory = volume(1, 2, 1, 1), volume(1, 1, 1, 1, seed=1)
    over = Cuboids(size=(1, 1, 1), padding="ignore", least_groups=2)
    before = Cuboids(size=(1, 1, 1), padding="ignore", least_groups=2, pad_time_first=True)
    for impl in ("reference", "cpu"):
        out = cuboid_attention(q, memory, memory, over, key_cuboids=before, impl=impl)
        assert not out[:, 0].any()
        torch.testing.assert_close(out[:, 1], memory[:, 0])


@pytest.mark.parametrize("impl", ["reference", "cpu"])
def test_gradients_are_those_of_finite_differences(impl):
    cuboids = Cuboids(size=(2, 2, 2), shift=(0, 1, 1), padding="ignore")
    q, k, v = (volume(1, 2, 3, 3, heads=1, channels=2, seed=i).requires_grad_() for i in range(3))
    bias = torch.randn(
        1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4)
    ).requires_grad_()

    def attend(q, k, v, bias):
        return cuboid_attention(q, k, v, cuboids, bias=bias, impl=impl)

    assert torch.autograd.gradcheck(attend, (q, k, v, bias), atol=1e-6)


def test_gradients_through_extra_keys_are_those_of_finite_differences():
    q, k, v = (volume(1, 1, 3, 2, heads=1, channels=2, seed=i).requires_grad_() for i in range(3))
    asked = volume(1, 1, 3, 2, heads=1, channels=3, seed=5).requires_grad_()
    gk, gv = (volume(1, 2, heads=1, channels=c, seed=c).requires_grad_() for c in (3, 2))

    def attend(q, k, v, asked, gk, gv):
        return cuboid_attention(q, k, v, Cuboids(size=(1, 2, 2)), extra=ExtraKeys(asked, gk, gv))

    assert torch.autograd.gradcheck(attend, (q, k, v, asked, gk, gv), atol=1e-6)


def test_half_precision_stays_finite_where_pairs_are_closed():
    x = volume(1, 1, 3, 3).to(torch.float16)
    cuboids = Cuboids(size=(1, 2, 2), shift=(0, 1, 1), padding="ignore")
    for impl in ("reference", "cpu"):
        assert torch.isfinite(cuboid_attention(x, x, x, cuboids, impl=impl)).all()


def test_dropout_spares_a_share_of_the_weights_and_keeps_the_mean():
    torch.manual_seed(0)
    q, v = torch.zeros(1, 1, 40, 40, 1, 1), torch.ones(1, 1, 40, 40, 1, 1)
    for impl in ("reference", "cpu"):
        out = cuboid_attention(q, q, v, Cuboids(size=(1, 10, 10)), dropout=0.5, impl=impl)
        assert 0.9 < out.mean() < 1.1
        assert out.std() > 0.05


def test_recorded_maps_are_the_weights_and_stop_with_the_block():
    q, v = row(0.0, 0.0, 0.0, 0.0), row(1.0, 3.0, 10.0, 20.0)
    cuboids, maps = Cuboids(size=(1, 1, 2)), []
    with record_attention(maps.append):
        recorded = cuboid_attention(q, q, v, cuboids, label="here")
    cuboid_attention(q, q, v, cuboids)
    assert len(maps) == 1
    assert (maps[0].label, maps[0].cuboids, maps[0].extra_keys) == ("here", cuboids, 0)
    assert torch.equal(maps[0].weights, torch.full((1, 1, 2, 2, 2), 0.5, dtype=torch.float64))
    torch.testing.assert_close(recorded, cuboid_attention(q, q, v, cuboids))


def test_another_thread_records_nothing():
    maps, q = [], row(0.0, 0.0)
    with record_attention(maps.append):
        other = threading.Thread(target=cuboid_attention, args=(q, q, q, Cuboids(size=(1, 1, 2))))
        other.start()
        other.join()
    assert maps == []


X = torch.zeros(1, 1, 4, 4, 2, 3)
WINDOW = Cuboids(size=(1, 2, 2))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X[0], X, X), {}, "query has shape"),
        ((X, X, X[:, :, :2]), {}, "differ before the last axis"),
        ((X, X[..., :2], X), {}, "differ in batch, heads or channels"),
        ((X, X[:, :, :2], X[:, :, :2]), {}, "cut into 4 cuboids and keys into 2"),
        ((X, X, X), {"bias": torch.zeros(2, 4, 5)}, "bias has shape"),
        ((X, X, X), {"key_mask": torch.ones(4, 4, dtype=torch.bool)}, "key_mask has shape"),
        ((X, X, X), {"extra": ExtraKeys(X[:, :, :2], X[0, 0, :1], X[0, 0, :1])}, "does not lie over query"),
        ((X, X, X), {"extra": ExtraKeys(X, X[0, 0, :1], X[0, 0, :1, :, :, :2])}, "extra key"),
        ((X, X, X), {"extra": ExtraKeys(X, X, X)}, "extra key"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(arguments, options, message):
    with pytest.raises(ShapeError, match=message):
        cuboid_attention(*arguments, WINDOW, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"impl": "fast"}, "impl='fast' is not known"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, message):
    with pytest.raises(ConfigError, match=message):
        cuboid_attention(X, X, X, WINDOW, **options)
