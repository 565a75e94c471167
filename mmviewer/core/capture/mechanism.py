"""Recording attention weights of chosen modules while everything else keeps its fused kernels.

A forward hook on each chosen module enters a `TorchFunctionMode` while that module runs and leaves it
afterwards, so nothing is patched, other modules pay nothing, and other threads are not affected. Three calls
are intercepted there: `scaled_dot_product_attention` and `multi_head_attention_forward` are computed step by
step in at least float32, and a softmax over the last axis (modules that write attention out) is passed on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import Tensor, nn, softmax
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from mmviewer.core.capture.attention import MultiHeadCall, attention_weights, causal_mask, repeat_heads

Sink = Callable[[str, Tensor], None]
"""Receives a module's name and its weights [B, H, Q, K], once per call."""

_SOFTMAX = frozenset({functional.softmax, softmax, Tensor.softmax})
_THREAD = threading.local()


class AttentionRecorder:
    """Context in which the attention weights of `sites` reach `sink`; its hooks are gone afterwards.

    Parameters
    ----------
    sites : mapping of str to nn.Module
        Attention modules by the name under which their weights are reported.
    sink : callable
        Called as ``sink(name, weights)`` with weights [B, H, Q, K], rows summing to one (all zero where
        everything is masked), float32 unless the model is float64.
    grad : bool
        Keep the graph. The first recorded weights become a leaf, so parameters may stay frozen; later ones
        retain their gradient.
    rows : slice, optional
        Query rows to record. Without `grad`, fused attention then keeps its kernel and only these rows of the
        weights are computed; modules with a single query give that one.

    Notes
    -----
    Not for compiled or scripted modules or external flash-attention kernels, which call none of the three
    functions. One recorder per model at a time, in the thread that runs the model.
    """

    def __init__(
        self, sites: Mapping[str, nn.Module], sink: Sink, *, grad: bool = False, rows: slice | None = None
    ) -> None:
        self._sites = dict(sites)
        self._sink = sink
        self._grad = grad
        self._rows = None if grad else rows
        self._thread = 0
        self._hooks: list[RemovableHandle] = []
        self._running: list[_Interception] = []

    def __enter__(self) -> AttentionRecorder:
        self._thread = threading.get_ident()
        for name, module in self._sites.items():
            self._hooks.append(module.register_forward_pre_hook(self._enter(name), with_kwargs=True))
            self._hooks.append(module.register_forward_hook(self._leave, always_call=True))
        _recorders().append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An interrupt that is no Exception skips the forward hooks: unwind what is still running.
        while self._running:
            self._leave()
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        _recorders().remove(self)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The modules whose weights are recorded."""
        return tuple(self._sites.values())

    def name_of(self, module: nn.Module) -> str | None:
        """Name under which the weights of `module` are reported, None if they are not."""
        return next((name for name, site in self._sites.items() if site is module), None)

    @property
    def rows(self) -> slice | None:
        """Query rows to record, None for all."""
        return self._rows

    def emit(self, name: str, weights: Tensor, packed: bool = False) -> Tensor:
        """Report weights [B, H, Q, K] and return those that the forward shall go on with, same shape.

        `packed` marks grouped heads on the query axis [B, H_kv, repeats, K]; they are reported as
        [B, H, 1, K].
        """
        if self._grad and not weights.requires_grad:
            weights = weights.detach().requires_grad_()
        # The reported tensor must lie on the path of the forward, or it would get no gradient.
        reported = weights.reshape(weights.shape[0], -1, 1, weights.shape[-1]) if packed else weights
        if self._grad and not reported.is_leaf:
            reported.retain_grad()
        block: Block | None = getattr(_THREAD, "block", None)
        self._sink(name, reported if block is None else block.place(reported))
        return reported.reshape(weights.shape)

    def _enter(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if threading.get_ident() == self._thread:
                interception = _Interception(self, name, _sequence_shape(args, kwargs))
                interception.__enter__()  # type: ignore[no-untyped-call]
                self._running.append(interception)

        return enter

    def _leave(self, *_: object) -> None:
        if self._running and threading.get_ident() == self._thread:
            self._running.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Block:
    """Where the weights of one part of a long input lie in those of the whole.

    Parameters
    ----------
    skip : int
        Leading query rows to leave out (a prompt that each part repeats).
    offset, keys : int
        Place of the part's first key, and how many keys the whole has.
    """

    skip: int
    offset: int
    keys: int

    def place(self, weights: Tensor) -> Tensor:
        """Carry weights [B, H, Q, K] of the part to [B, H, Q - skip, keys]; zero outside of the part."""
        after = self.keys - self.offset - weights.shape[-1]
        return functional.pad(weights[..., self.skip :, :], (self.offset, after))


@contextmanager
def placed(block: Block) -> Iterator[None]:
    """While active, recorded weights (without gradients) are reported as a block of a longer input."""
    _THREAD.block = block
    try:
        yield
    finally:
        del _THREAD.block


def recording(module: nn.Module) -> bool:
    """Whether a recorder of this thread watches `module` or a module inside it."""
    watched = {id(site) for recorder in _recorders() for site in recorder.modules}
    return bool(watched) and any(id(inner) in watched for inner in module.modules())


def standing_for(module: nn.Module) -> AbstractContextManager[object]:
    """Context for code that computes the attention of `module` for one query without calling it.

    A recorder of this thread that watches `module` then sees its weights; without one nothing happens.
    """
    for recorder in _recorders():
        name = recorder.name_of(module)
        if name is not None:
            return _Interception(recorder, name, (1, 1))
    return nullcontext()


def _recorders() -> list[AttentionRecorder]:
    if not hasattr(_THREAD, "recorders"):
        _THREAD.recorders = []
    recorders: list[AttentionRecorder] = _THREAD.recorders
    return recorders


def _sequence_shape(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int] | None:
    """(B, Q) of the sequence [B, Q, D] that enters an attention module, None where it is none."""
    x = args[0] if args else kwargs.get("hidden_states", kwargs.get("query"))
    return (x.shape[0], x.shape[1]) if isinstance(x, Tensor) and x.dim() == 3 else None


class _Interception(TorchFunctionMode):
    """Active while one recorded module runs; `entered` is (B, Q) of its input."""

    def __init__(self, recorder: AttentionRecorder, name: str, entered: tuple[int, int] | None) -> None:
        super().__init__()
        self._recorder = recorder
        self._name = name
        self._batch = None if entered is None else entered[0]
        self._one_query = entered is not None and entered[1] == 1

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)[0]
        if func is functional.multi_head_attention_forward:
            return self._multi_head(args, kwargs)
        result = func(*args, **kwargs)
        if func in _SOFTMAX and result.dim() >= 3 and _over_last_axis(args, kwargs, result.dim()):
            return self._written_out(result)
        return result

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        may_be_packed: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Scaled dot-product attention and its weights; arguments as in PyTorch."""
        mask = causal_mask(query, key) if is_causal else attn_mask
        rows = self._recorder.rows
        if rows is not None and query.shape[-2] > 1 and not self._one_query:
            mixed = functional.scaled_dot_product_attention(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )
            if mask is not None and mask.shape[-2] > 1:
                mask = mask[..., rows, :]
            weights = attention_weights(query[..., rows, :], key, mask, scale)
            return mixed, self._recorder.emit(self._name, weights)
        weights = attention_weights(query, key, mask, scale)  # [B, H, Q, K]
        # With one query, transformers packs grouped heads on the query axis.
        packed = may_be_packed and self._one_query and weights.dim() == 4 and weights.shape[2] != 1
        weights = self._recorder.emit(self._name, weights, packed)
        mixed = functional.dropout(weights, dropout_p) @ repeat_heads(value, query).to(weights.dtype)
        return mixed.to(query.dtype), weights

    def _multi_head(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """`nn.MultiheadAttention` on [Q, B, D]."""
        call = MultiHeadCall.parse(args, kwargs)
        mixed, weights = self._attend(
            call.query, call.key, call.value, call.mask, call.dropout, may_be_packed=False
        )
        return call.finish(mixed, weights)

    def _written_out(self, weights: Tensor) -> Tensor:
        """Softmax weights of a module that writes its attention out; [B * H, Q, K] is split by the batch."""
        if weights.dim() != 3 or not self._batch or weights.shape[0] % self._batch:
            return self._recorder.emit(self._name, weights)
        split = weights.reshape(self._batch, -1, *weights.shape[1:])
        return self._recorder.emit(self._name, split).reshape(weights.shape)


def _over_last_axis(args: tuple[Any, ...], kwargs: dict[str, Any], dimensions: int) -> bool:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return axis in (-1, dimensions - 1)
