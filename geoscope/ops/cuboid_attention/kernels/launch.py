"""From tensors to kernels: the geometry as the kernels take it, memory for the results, and the launches.

Tensors are taken with the strides they have. Shapes and types were checked by the door (`api.py`).
"""

from contextlib import nullcontext
from dataclasses import replace
from math import log, prod
from typing import Any

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import Axes, Cuboids, volume_shape
from geoscope.ops.cuboid_attention.kernels.backward import key_kernel, query_kernel
from geoscope.ops.cuboid_attention.kernels.backward_shared import bias_kernel, extra_kernel
from geoscope.ops.cuboid_attention.kernels.blocks import (
    PROGRAMS_OF_A_SUM,
    Blocks,
    block_width,
    choose_blocks,
)
from geoscope.ops.cuboid_attention.kernels.forward import forward_kernel
from geoscope.ops.cuboid_attention.kernels.language import tl, triton
from geoscope.ops.cuboid_attention.request import ExtraKeys, Request

# Decided by TRITON_INTERPRET when Triton was first imported: kernels then run in Python, on CPU tensors.
IS_INTERPRETED = not isinstance(forward_kernel, triton.JITFunction)

_TYPES = {
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
    torch.float64: tl.float64,
}
LOG2E = 1.0 / log(2.0)
_NONE = (0, 0, 0, 0, 0, 0)  # strides of a tensor that is not there


def blocks_of(request: Request) -> Blocks:
    """What one program takes on."""
    return choose_blocks(
        request.cuboids.volume,
        request.key_cuboids.volume,
        request.cuboid_count,
        max(request.widths),
        request.query.element_size(),
    )


def most_programs(request: Request) -> int:
    """Programs of the largest launch that forward and backward need."""
    blocks = blocks_of(request)
    return max(
        _programs(request, blocks, blocks.queries, request.cuboids.volume),
        _programs(request, blocks, blocks.keys, request.key_cuboids.volume),
    )


def make_results(query: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Memory for the attention (B, T, H, W, heads, E), and for two numbers of each softmax (B, T, H, W, heads)."""
    out = query.new_empty(*query.shape[:5], value.shape[-1])
    highs, shares = (query.new_empty(query.shape[:5], dtype=_sum_type(query)) for _ in range(2))
    return out, highs, shares


def forward(request: Request) -> tuple[Tensor, Tensor, Tensor]:
    """The attention (B, T, H, W, heads, E), and what `backward` needs to make the weights again."""
    out, highs, shares = make_results(request.query, request.value)
    if out.numel():
        blocks = blocks_of(request)
        programs = _programs(request, blocks, blocks.queries, request.cuboids.volume)
        _launch(
            forward_kernel, programs, blocks, _arguments(request, blocks), out=out, highs=highs, shares=shares
        )
    return out, highs, shares


def backward(
    request: Request, out: Tensor, highs: Tensor, shares: Tensor, grad_out: Tensor, *, with_bias: bool
) -> list[Tensor]:
    """The gradients of query, key and value; of the bias if asked for; of extra query, key and value if any."""
    extra = request.extra
    if not grad_out.numel():
        biases = [request.bias] if with_bias and request.bias is not None else []
        return [
            x.new_zeros(x.shape) for x in (request.query, request.key, request.value, *biases, *(extra or ()))
        ]
    grads = [x.new_empty(x.shape) for x in (request.query, request.key, request.value)]
    grad_extra_query = None if extra is None else extra.query.new_empty(extra.query.shape)
    blocks = blocks_of(request)
    arguments = _arguments(request, blocks)
    rows: dict[str, Tensor] = {
        "highs": highs,
        "shares": shares,
        "grad_out": grad_out,
        "delta": torch.empty_like(highs),
    }
    programs = _programs(request, blocks, blocks.queries, request.cuboids.volume)
    _launch(
        query_kernel,
        programs,
        blocks,
        arguments,
        out=out,
        grad_query=grads[0],
        grad_extra_query=grad_extra_query,
        **rows,
    )
    programs = _programs(request, blocks, blocks.keys, request.key_cuboids.volume)
    _launch(key_kernel, programs, blocks, arguments, grad_key=grads[1], grad_value=grads[2], **rows)
    if with_bias:
        grads.append(_bias_gradient(request, blocks, arguments, rows))
    if extra is not None and grad_extra_query is not None:
        grads += [grad_extra_query, *_extra_gradients(request, extra, blocks, arguments, rows)]
    return grads


def _bias_gradient(
    request: Request, blocks: Blocks, arguments: dict[str, Any], rows: dict[str, Tensor]
) -> Tensor:
    """The slopes of the scores summed over all cuboids and the batch, (heads, Lq, Lk)."""
    assert request.bias is not None
    heads, length_q, length_k = request.bias.shape
    group = blocks.group
    tiles = heads * -(-group * length_q // blocks.queries) * -(-group * length_k // blocks.keys)
    items = request.query.shape[0] * -(-request.cuboid_count // group)
    chunks = min(items, -(-PROGRAMS_OF_A_SUM // tiles))
    parts = request.query.new_empty(
        (chunks, heads, group * length_q, group * length_k), dtype=_sum_type(request.query)
    )
    arguments = {**arguments, "items": items, "chunks": chunks}
    _launch(bias_kernel, tiles * chunks, blocks, arguments, parts=parts, **rows)
    own = parts.view(chunks, heads, group, length_q, group, length_k).diagonal(dim1=2, dim2=4)
    return own.sum((0, -1)).to(request.bias.dtype).contiguous()


def _extra_gradients(
    request: Request, extra: ExtraKeys, blocks: Blocks, arguments: dict[str, Any], rows: dict[str, Tensor]
) -> list[Tensor]:
    """The gradients of extra key (B, K, heads, F) and extra value (B, K, heads, E)."""
    batch, count, heads, _ = extra.key.shape
    if not count:
        return [x.new_zeros(x.shape) for x in (extra.key, extra.value)]
    whole = replace(blocks, keys=min(blocks.keys, block_width(count)))
    tiles = batch * heads * -(-count // whole.keys)
    chunks = min(-(-prod(volume_shape(request.query)) // whole.queries), -(-PROGRAMS_OF_A_SUM // tiles))
    parts = [
        request.query.new_empty((chunks, batch, heads, count, x.shape[-1]), dtype=_sum_type(request.query))
        for x in (extra.key, extra.value)
    ]
    t, h, w = volume_shape(request.query)
    arguments = {
        **arguments,
        "T": t,
        "H": h,
        "W": w,
        "batches": batch,
        "chunks": chunks,
        "BLOCK_K": whole.keys,
    }
    _launch(extra_kernel, tiles * chunks, whole, arguments, key_parts=parts[0], value_parts=parts[1], **rows)
    return [part.sum(0).transpose(1, 2).to(request.query.dtype).contiguous() for part in parts]


def _sum_type(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _programs(request: Request, blocks: Blocks, tile: int, length: int) -> int:
    """Programs of a launch in which one takes ``tile`` of the ``length`` tokens of a cuboid, or of a group's."""
    batch, heads = request.query.shape[0], request.query.shape[4]
    return batch * heads * -(-request.cuboid_count // blocks.group) * -(-blocks.group * length // tile)


def _volume(shape: Axes, cuboids: Cuboids) -> tuple[int, ...]:
    """VOLUME as `places` describes it."""
    padded = cuboids.padded(shape)
    counts = [whole // step for whole, step in zip(padded, cuboids.size, strict=True)]
    return (*shape, *padded, *counts, padded[0] - shape[0] if cuboids.pad_time_first else 0)


def _cut(cuboids: Cuboids) -> tuple[int | bool, ...]:
    """CUT as `places` describes it."""
    return (*cuboids.size, *cuboids.shift, *(way == "dilated" for way in cuboids.strategy))


def _has_regions(cuboids: Cuboids) -> bool:
    return any(roll and way == "local" for roll, way in zip(cuboids.shift, cuboids.strategy, strict=True))


def _arguments(request: Request, blocks: Blocks) -> dict[str, Any]:
    """What the kernels take besides their results, by name; each picks its own."""
    query, key_cuboids, extra = request.query, request.key_cuboids, request.extra
    d, e, f = (max(1, width) for width in request.widths)
    # The interpreter multiplies bfloat16 as if its bits were whole numbers: there it is widened first.
    dot = torch.float32 if IS_INTERPRETED and query.dtype == torch.bfloat16 else query.dtype
    is_exact = query.dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest"
    return {
        **_with_strides(
            query=query,
            key=request.key,
            value=request.value,
            bias=request.bias,
            key_mask=None if request.key_mask is None else request.key_mask.view(torch.uint8),
            extra_query=None if extra is None else extra.query,
            extra_key=None if extra is None else extra.key,
            extra_value=None if extra is None else extra.value,
        ),
        "VOLUME_Q": _volume(volume_shape(query), request.cuboids),
        "VOLUME_K": _volume(volume_shape(request.key), key_cuboids),
        "heads": query.shape[4],
        "groups": -(-request.cuboid_count // blocks.group),
        "extra_count": 0 if extra is None else extra.key.shape[1],
        "scale": request.scale,
        "scale_log2": request.scale * LOG2E,
        "CUT_Q": _cut(request.cuboids),
        "CUT_K": _cut(key_cuboids),
        "GROUP": blocks.group,
        "HIDES": key_cuboids.padding == "ignore",
        "REGIONS": _has_regions(request.cuboids) or _has_regions(key_cuboids),
        "D": d,
        "E": e,
        "F": f,
        "BLOCK_D": block_width(d),
        "BLOCK_E": block_width(e),
        "BLOCK_F": block_width(f),
        "BLOCK_Q": blocks.queries,
        "BLOCK_K": blocks.keys,
        "DOT": _TYPES[dot],
        "ACC": tl.float64 if query.dtype == torch.float64 else tl.float32,
        "PRECISION": "ieee" if is_exact else "tf32",
    }


def _with_strides(**tensors: Tensor | None) -> dict[str, Any]:
    found: dict[str, Any] = dict(tensors)
    for name, x in tensors.items():
        found[f"{name}_strides"] = _NONE if x is None else x.stride()
    return found


def _launch(
    kernel: Any, programs: int, blocks: Blocks, arguments: dict[str, Any], **tensors: Tensor | None
) -> None:
    every = {**arguments, **_with_strides(**tensors)}
    mine = {name: every[name] for name in kernel.arg_names}
    query: Tensor = arguments["query"]
    with torch.cuda.device(query.device) if query.is_cuda else nullcontext():
        kernel[(programs,)](**mine, num_warps=blocks.warps, num_stages=blocks.stages, enable_fp_fusion=True)
