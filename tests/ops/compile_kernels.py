"""Compile every kernel for an NVIDIA GPU without having one, and print their names with what each takes.

    TRITON_CACHE_DIR=FOLDER python tests/ops/compile_kernels.py [--capability 90] [--dtype bfloat16] [--width 32]

A stand-in for the driver names the target; Triton then compiles to machine code as it would before a launch, and
nothing is launched. The attention has everything at once: bias, extra keys, hidden keys, shift, dilation, padding.
"""

import argparse

import torch
import triton
from triton.backends.compiler import GPUTarget

from geoscope.ops.cuboid_attention import Cuboids, ExtraKeys
from geoscope.ops.cuboid_attention.kernels import launch
from geoscope.ops.cuboid_attention.request import Request


class NoDriver:
    """What Triton asks a driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return device


def compile_only(kernel, programs, blocks, arguments, **tensors) -> None:
    """In place of `launch._launch`: the same arguments, no launch."""
    every = {**arguments, **launch._with_strides(**tensors)}
    compiled = kernel.warmup(
        **{name: every[name] for name in kernel.arg_names},
        grid=(programs,),
        num_warps=blocks.warps,
        num_stages=blocks.stages,
        enable_fp_fusion=True,
    )
    assert compiled.asm["cubin"]
    print(kernel.__name__, f"shared={compiled.metadata.shared}", blocks)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--capability", type=int, default=90)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--width", type=int, default=32)
    options = parser.parse_args()
    triton.runtime.driver.set_active(NoDriver(options.capability))
    launch._launch = compile_only
    cuboids = Cuboids(
        size=(2, 2, 2), shift=(1, 0, 1), strategy=("local", "dilated", "local"), padding="ignore"
    )
    dtype, width = getattr(torch, options.dtype), options.width
    query = torch.empty(2, 5, 6, 7, 4, 3 * width, dtype=dtype)[..., :width]
    extra = ExtraKeys(query, *(torch.empty(2, 8, 4, width, dtype=dtype) for _ in range(2)))
    bias, key_mask = torch.empty(4, 8, 8), torch.ones(5, 6, 7, dtype=torch.bool)
    request = Request(query, query, query, cuboids, cuboids, 1.0, bias, extra, key_mask)
    out, highs, shares = launch.forward(request)
    launch.backward(request, out, highs, shares, torch.empty_like(out), with_bias=True)


if __name__ == "__main__":
    main()
