"""The one public door of cuboid attention: it checks once, then runs the implementation asked for."""

from torch import Tensor

from geoscope.ops.cuboid_attention import cpu, reference
from geoscope.ops.cuboid_attention.choice import Impl, choose
from geoscope.ops.cuboid_attention.cuboids import Cuboids, volume_shape
from geoscope.ops.cuboid_attention.recording import AttentionMap, current_recorder
from geoscope.ops.cuboid_attention.request import ExtraKeys, Request, check


def cuboid_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cuboids: Cuboids,
    *,
    key_cuboids: Cuboids | None = None,
    bias: Tensor | None = None,
    extra: ExtraKeys | None = None,
    key_mask: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    label: str = "",
    impl: Impl = "auto",
) -> Tensor:
    """Attention between the tokens that share a cuboid, (B, T, H, W, heads, E).

    Args:
        query: (B, T, H, W, heads, D), not yet scaled; with any strides, as all tensors here.
        key: (B, T', H', W', heads, D) over the same volume, or over another one.
        value: (B, T', H', W', heads, E).
        cuboids: how the query volume is cut; used as given (`Cuboids.fit` clips it to the volume first).
        key_cuboids: how the key volume is cut, into as many cuboids: cuboid n of the queries sees cuboid n of the
            keys. By default as the queries.
        bias: added to the scores, (heads, Lq, Lk), for instance `positions.relative_bias`.
        extra: keys that every token sees, in the same softmax as its cuboid.
        key_mask: (T', H', W') bool, False where a key is never to be seen (missing data).
        scale: of the scores; by default D ** -0.5.
        dropout: of the weights; 0 outside training.
        label: the name under which the map is recorded.
        impl: "reference" is the meaning of the operation; "cpu" the fastest exact arrangement of PyTorch's own
            operations, made for CPUs; "triton" the kernels. "auto" is "reference" while weights are recorded,
            "triton" for CUDA tensors that the kernels take (`choice.triton_refusal`) on a GPU where they were seen to
            agree with the reference (`proof`, a warning where not), and "cpu" for all others.

    Raises:
        ShapeError: tensors that do not fit together, named with both shapes.
        ConfigError: an ``impl`` that is unknown or cannot do what is asked, tensors of several types or devices.
        MissingExtraError: "triton" is asked for and not installed.

    Source: Gao et al. 2022 (Earthformer), equations 1 to 6.
    """
    scale = float(query.shape[-1] ** -0.5) if scale is None else scale
    over_keys = key_cuboids or cuboids
    request = Request(query, key, value, cuboids, over_keys, scale, bias, extra, key_mask, dropout)
    check(request)
    chosen = choose(impl, request)
    if chosen == "triton":
        from geoscope.ops.cuboid_attention.kernels import custom_op  # needs Triton

        return custom_op.attend(request)
    if chosen == "cpu":
        return cpu.attend(request)
    out, weights = reference.attend(request)
    _record(request, weights, label)
    return out


def _record(request: Request, weights: Tensor, label: str) -> None:
    """Hand the weights to the recorder of this thread, if there is one."""
    recorder = current_recorder()
    if recorder is None:
        return
    recorder(
        AttentionMap(
            label=label,
            weights=weights.detach(),
            shape=volume_shape(request.query),
            cuboids=request.cuboids,
            key_shape=volume_shape(request.key),
            key_cuboids=request.key_cuboids,
            extra_keys=0 if request.extra is None else request.extra.key.shape[1],
        )
    )
