"""The Triton kernels of cuboid attention, forward and backward, and the PyTorch operator made of them.

Nothing here is imported before it is asked for: the package needs Triton, which PyTorch for CUDA brings.
"""
