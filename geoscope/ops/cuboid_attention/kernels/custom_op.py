"""The kernels as operators of PyTorch, `geoscope::cuboid_attention` and its gradient: `torch.compile` and
`torch.export` carry them through as one node, with shapes known beforehand and the gradient registered.
"""

from typing import Any

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import Cuboids, Strategy
from geoscope.ops.cuboid_attention.kernels import launch
from geoscope.ops.cuboid_attention.request import ExtraKeys, Request


def attend(request: Request) -> Tensor:
    """The attention of `reference.attend` without its weights, by the kernels; shapes as there."""
    extra = request.extra or (None, None, None)
    out, _, _ = _forward(
        request.query,
        request.key,
        request.value,
        request.bias,
        request.key_mask,
        *extra,
        _written(request.cuboids),
        _written(request.key_cuboids),
        request.scale,
    )
    return out


def _written(cuboids: Cuboids) -> list[int]:
    """Cuboids as whole numbers, which an operator may take."""
    ways = [int(way == "dilated") for way in cuboids.strategy]
    rest = [int(cuboids.padding == "ignore"), int(cuboids.pad_time_first), cuboids.least_groups]
    return [*cuboids.size, *cuboids.shift, *ways, *rest]


def _read(numbers: list[int]) -> Cuboids:
    """Undo `_written`."""
    t, h, w, dt, dh, dw, *ways, hides, first, groups = numbers
    named: list[Strategy] = ["dilated" if way else "local" for way in ways]
    return Cuboids(
        size=(t, h, w),
        shift=(dt, dh, dw),
        strategy=(named[0], named[1], named[2]),
        padding="ignore" if hides else "zeros",
        pad_time_first=bool(first),
        least_groups=groups,
    )


def _request(
    tensors: tuple[Tensor | None, ...], cuboids: list[int], key_cuboids: list[int], scale: float
) -> Request:
    query, key, value, bias, key_mask, *extra = tensors
    assert query is not None
    assert key is not None
    assert value is not None
    a, b, c = extra
    keys = None if a is None or b is None or c is None else ExtraKeys(a, b, c)
    return Request(query, key, value, _read(cuboids), _read(key_cuboids), scale, bias, keys, key_mask)


@torch.library.custom_op("geoscope::cuboid_attention", mutates_args=())
def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    key_mask: Tensor | None,
    extra_query: Tensor | None,
    extra_key: Tensor | None,
    extra_value: Tensor | None,
    cuboids: list[int],
    key_cuboids: list[int],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    tensors = (query, key, value, bias, key_mask, extra_query, extra_key, extra_value)
    return launch.forward(_request(tensors, cuboids, key_cuboids, scale))


@_forward.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return launch.make_results(query, value)


@torch.library.custom_op("geoscope::cuboid_attention_backward", mutates_args=())
def _backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    key_mask: Tensor | None,
    extra_query: Tensor | None,
    extra_key: Tensor | None,
    extra_value: Tensor | None,
    cuboids: list[int],
    key_cuboids: list[int],
    scale: float,
    out: Tensor,
    highs: Tensor,
    shares: Tensor,
    grad_out: Tensor,
    with_bias: bool,
) -> list[Tensor]:
    tensors = (query, key, value, bias, key_mask, extra_query, extra_key, extra_value)
    request = _request(tensors, cuboids, key_cuboids, scale)
    return launch.backward(request, out, highs, shares, grad_out, with_bias=with_bias)


@_backward.register_fake
def _(*given: Any) -> list[Tensor]:
    query, key, value, bias, _, *extra = given[:8]
    with_bias = given[-1]
    shared = (bias if with_bias else None, *extra)
    return [x.new_empty(x.shape) for x in (query, key, value, *shared) if x is not None]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, cuboids, key_cuboids, scale = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.numbers = cuboids, key_cuboids, scale


def _gradients(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, out, highs, shares = ctx.saved_tensors
    with_bias = tensors[3] is not None and ctx.needs_input_grad[3]
    grads = iter(_backward(*tensors, *ctx.numbers, out, highs, shares, grad_out, with_bias))
    has_extra = (x is not None for x in tensors[5:8])
    is_wanted = (True, True, True, with_bias, False, *has_extra, *(False for _ in ctx.numbers))
    return tuple(next(grads) if wanted else None for wanted in is_wanted)


_forward.register_autograd(_gradients, setup_context=_keep)
