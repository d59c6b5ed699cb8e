"""Whether the kernels work on this GPU: asked once, before `impl="auto"` relies on them."""

import warnings
from functools import cache

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention import reference
from geoscope.ops.cuboid_attention.cuboids import Cuboids
from geoscope.ops.cuboid_attention.request import Request

TOLERANCE = 5e-3  # of values of the order of one; products may be allowed to round to TF32


@cache
def kernels_agree(device: torch.device) -> bool:
    """Whether the kernels give on ``device`` what the reference gives, for one small attention and its gradients.

    Warns, once, where they do not: what was asked then runs on PyTorch's own operations.
    """
    from geoscope.ops.cuboid_attention.kernels import custom_op  # needs Triton

    generator = torch.Generator().manual_seed(0)
    cuboids = Cuboids(size=(2, 3, 3), shift=(1, 1, 1))
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        q, k, v = (
            torch.randn(1, 3, 5, 6, 2, 8, generator=generator).to(device).requires_grad_() for _ in range(3)
        )
        request = Request(q, k, v, cuboids, cuboids, 0.3)
        try:
            found = _with_gradients(custom_op.attend(request), (q, k, v))
            wanted = _with_gradients(reference.attend(request)[0], (q, k, v))
            worst = max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True))
            trouble = "" if worst <= TOLERANCE else f"they differ from the reference by {worst:.1e}"
        except Exception as error:  # whatever a compiler or driver says
            trouble = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if trouble:
        warnings.warn(
            f"the Triton kernels do not work on {device} ({trouble}): cuboid attention goes on with PyTorch's own "
            "operations; please report this",
            RuntimeWarning,
            stacklevel=2,
        )
    return not trouble


def _with_gradients(out: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    return [out.detach(), *torch.autograd.grad(out.sin().sum(), inputs)]
