"""Counting what a run of PyTorch code costs: operations, bytes, and how much memory is held at once.

Conventions. FLOP: a multiply-add counts 2, and only products count (matrix products, attention, convolutions), as
`torch.utils.flop_counter` counts them; norms, activations, softmax and sums are free. Bytes moved: each operation reads
its arguments and writes its results once, as if nothing stayed in a cache. Memory: what is alive at the same time of
all that the run itself makes, what autograd keeps included; what was there before (weights, inputs) is not in it.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REST = "loss and backward pass"
_aten = torch.ops.aten


@dataclass
class PartCost:
    """What one part of a model costs in a forward pass: FLOP, bytes moved, and bytes it left behind at its end."""

    flop: int = 0
    moved: int = 0
    kept: int = 0


@dataclass
class _Held:
    """One piece of memory: its size, the part that made it and when."""

    size: int
    part: str
    born: int


@dataclass
class Reading:
    """What a meter has counted; bytes and FLOP. ``peak_part`` is where the most was held."""

    flop: int = 0
    moved: int = 0
    peak: int = 0
    peak_part: str = REST
    peak_at: int = 0
    parts: dict[str, PartCost] = field(default_factory=dict)


def _attention_forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return flop_counter.sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return flop_counter.sdpa_backward_flop_count(grad, query, key, value)


def _product_added(start: Any, first: Any, second: Any, **_: Any) -> int:
    return flop_counter.bmm_flop(first, second)


_LEFT_OUT: dict[Any, Callable[..., int]] = {  # products that torch's own registry leaves out
    _aten.baddbmm_: _product_added,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention_forward,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class Meter(TorchDispatchMode):
    """Counts all that runs inside ``with meter:`` on this thread, backward passes included.

    Tensors may be real or ghosts (`ghosts.ghost`). ``reading`` fills while it runs. Parts are told apart by the
    modules that `watching` names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reading = Reading()
        self.held_bytes = 0
        self._formulas = flop_counter.FlopCounterMode(display=False, custom_mapping=_LEFT_OUT).flop_registry
        self._held: dict[int, _Held] = {}
        self._known: set[int] = set()  # memory that was there before
        self._inside: list[str] = []
        self._born = 0

    @contextmanager
    def watching(self, model: nn.Module, part_of: Callable[[str], str]) -> Iterator[None]:
        """Credit what happens inside a module of ``model`` to ``part_of(its name)``, the innermost module's."""
        with ExitStack() as hooks:
            for name, module in model.named_modules():
                part = part_of(name)

                def enter(*_: Any, part: str = part) -> None:
                    self._inside.append(part)

                def leave(*_: Any) -> None:
                    self._inside.pop()

                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(leave).remove)
            yield

    def end_forward(self) -> int:
        """Take down by part what is still held, as at the end of a forward pass, and return the sum."""
        for piece in self._held.values():
            self._part(piece.part).kept += piece.size
        return self.held_bytes

    def held_at_peak(self, tensors: Sequence[Tensor]) -> int:
        """Bytes of these tensors that were there when the most was held."""
        pieces = [self._held.get(tensor.untyped_storage()._cdata) for tensor in tensors]
        return sum(piece.size for piece in pieces if piece is not None and piece.born <= self.reading.peak_at)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for tensor in given:
            storage = tensor.untyped_storage()
            place = storage._cdata
            if place not in self._held and place not in self._known:
                self._known.add(place)
                weakref.finalize(storage, self._known.discard, place)  # others may come to the same place
        out = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if made:
            self._count(func, args, kwargs, given, made, out)
        return out

    def _count(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        given: list[Tensor],
        made: list[Tensor],
        out: Any,
    ) -> None:
        formula = self._formulas.get(func._overloadpacket)
        flop = 0 if formula is None else int(formula(*args, **kwargs, out_val=out))
        places = {tensor.untyped_storage()._cdata for tensor in given}
        is_view = all(tensor.untyped_storage()._cdata in places for tensor in made)
        moved = 0
        if func._schema.is_mutable or not is_view:
            moved = sum(map(_size, given)) + sum(map(_size, made))
        for tensor in made:
            self._hold(tensor, scratch=_scratch(func._overloadpacket, given, made))
        self.reading.flop += flop
        self.reading.moved += moved
        if flop or moved:
            part = self._part(self._here())
            part.flop += flop
            part.moved += moved

    def _hold(self, tensor: Tensor, scratch: int) -> None:
        storage = tensor.untyped_storage()
        place = storage._cdata
        if place not in self._known and place not in self._held:
            self._born += 1
            self._held[place] = _Held(storage.nbytes(), self._here(), self._born)
            self.held_bytes += storage.nbytes()
            weakref.finalize(storage, self._let_go, place)
        if self.held_bytes + scratch > self.reading.peak:
            self.reading.peak, self.reading.peak_at = self.held_bytes + scratch, self._born
            self.reading.peak_part = self._here()

    def _let_go(self, place: int) -> None:
        self.held_bytes -= self._held.pop(place).size

    def _here(self) -> str:
        return self._inside[-1] if self._inside else REST

    def _part(self, name: str) -> PartCost:
        return self.reading.parts.setdefault(name, PartCost())


def _size(tensor: Tensor) -> int:
    """Bytes that a tensor touches; what `expand` repeats counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _scratch(operation: Any, given: list[Tensor], made: list[Tensor]) -> int:
    """Bytes that an operation needs beside its arguments and results.

    Measured with torch 2.13 on a CPU (oneDNN): a convolution over channels-first memory copies the larger of what comes
    in and what goes out into its own layout, its gradient both; over channels-last memory neither. Everything else is
    small.
    """
    if operation is _aten.convolution and _is_channels_first(given[0]):
        return max(_size(given[0]), _size(made[0]))
    if operation is _aten.convolution_backward and _is_channels_first(given[1]):
        return _size(given[0]) + _size(given[1])
    return 0


def _is_channels_first(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.ndim == 4 and x.is_contiguous()
