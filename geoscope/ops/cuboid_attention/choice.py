"""Which implementation runs. The rule is stated once, here and at the door; nothing is replaced in silence."""

from importlib.util import find_spec
from typing import Literal

import torch

from geoscope.errors import ConfigError, GeoscopeError, MissingExtraError
from geoscope.ops.cuboid_attention.proof import kernels_agree
from geoscope.ops.cuboid_attention.recording import current_recorder
from geoscope.ops.cuboid_attention.request import Request

Impl = Literal["auto", "reference", "cpu", "triton"]
Chosen = Literal["reference", "cpu", "triton"]
IMPLS = ("auto", "reference", "cpu", "triton")
HAS_TRITON = find_spec("triton") is not None
OLDEST = (8, 0)  # compute capability: bfloat16 in the matrix units


def choose(impl: Impl, request: Request) -> Chosen:
    """The implementation that ``impl`` stands for.

    Raises:
        ConfigError: an unknown ``impl``, or one that cannot do what is asked, with the reason.
        MissingExtraError: "triton" without Triton.
    """
    if impl not in IMPLS:
        raise ConfigError(f"impl={impl!r} is not known: choose one of {', '.join(IMPLS)}")
    is_recorded = current_recorder() is not None
    if impl == "auto":
        if is_recorded:
            return "reference"
        return "triton" if _is_for_kernels(request) else "cpu"
    if impl != "reference" and is_recorded:
        raise ConfigError(
            f"impl={impl!r} keeps no weights to record: use impl='auto' or 'reference' inside record_attention"
        )
    refusal = triton_refusal(request) if impl == "triton" else None
    if refusal is not None:
        raise refusal
    return impl


def _is_for_kernels(request: Request) -> bool:
    if not request.query.is_cuda or triton_refusal(request) is not None:
        return False
    return torch.compiler.is_compiling() or kernels_agree(request.query.device)


def triton_refusal(request: Request) -> GeoscopeError | None:
    """Why the kernels cannot do what is asked, or None when they can."""
    if not HAS_TRITON:
        return MissingExtraError(
            "impl='triton' needs Triton: pip install triton (PyTorch for CUDA brings it), or use impl='auto'"
        )
    from geoscope.ops.cuboid_attention.kernels.blocks import MAX_PROGRAMS, MAX_WIDTH
    from geoscope.ops.cuboid_attention.kernels.launch import IS_INTERPRETED, most_programs

    query = request.query
    if not (IS_INTERPRETED or query.is_cuda):
        return ConfigError(
            f"impl='triton' needs CUDA tensors and query lies on {query.device}: move the tensors to a GPU, or use "
            "impl='auto' (TRITON_INTERPRET=1 runs the kernels in Triton's interpreter, for tests)"
        )
    if query.is_cuda and torch.cuda.get_device_capability(query.device) < OLDEST:
        return ConfigError("impl='triton' needs a GPU of compute capability 8.0 or newer: use impl='auto'")
    types = (torch.float32, torch.bfloat16, torch.float16, *([torch.float64] if IS_INTERPRETED else []))
    if query.dtype not in types:
        names = ", ".join(str(each).removeprefix("torch.") for each in types)
        return ConfigError(f"impl='triton' takes {names}, and query is {query.dtype}: use impl='auto'")
    if request.dropout > 0:
        return ConfigError(f"impl='triton' has no dropout and got {request.dropout}: use impl='auto'")
    if max(request.widths) > MAX_WIDTH:
        return ConfigError(
            f"impl='triton' takes heads of at most {MAX_WIDTH} channels and got {max(request.widths)}: "
            "use more heads, or impl='auto'"
        )
    if most_programs(request) > MAX_PROGRAMS:
        return ConfigError(
            f"impl='triton' would need {most_programs(request)} programs in one launch and CUDA starts at most "
            f"{MAX_PROGRAMS}: split the batch, or use impl='auto'"
        )
    return None
