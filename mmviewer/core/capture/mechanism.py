"""Recording or changing attention weights of chosen modules while everything else keeps its fused kernels.

A forward hook on each chosen module enters a `TorchFunctionMode` while that module runs and leaves it
afterwards, so nothing is patched, other modules pay nothing, and other threads are not affected. Three calls
are intercepted there: `scaled_dot_product_attention` and `multi_head_attention_forward` are computed step by
step in at least float32, and a softmax over the last axis (modules that write attention out) is passed on.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import torch
from torch import Tensor, matmul, nn, softmax
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from mmviewer.core.capture.attention import MultiHeadCall, attention_weights, causal_mask, repeat_heads

Sink = Callable[[str, Tensor], None]
"""Receives a module's name and its weights [B, H, Q, K], once per call."""


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """What one call of an attention module worked with.

    `query` [B, H, Q, D], `key` and `value` [B, H, K, D], and `mixed` [B, H, Q, D], the values mixed by the
    weights, before heads are joined and projected; `mixed` lies on the graph of the forward.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mixed: Tensor


Look = Callable[[str, Inside], None]
"""Receives a module's name and what its attention worked with, once per call."""

Change = Callable[[str, Tensor, Tensor | None], Tensor]
"""Returns the weights [B, H, Q, K] that a module shall go on with instead of its own.

Called with the module's name, its weights, and where a query may attend at all (bool, broadcastable to the
weights; None where nothing is masked).
"""

_SOFTMAX = frozenset({functional.softmax, softmax, Tensor.softmax})
_PRODUCTS = frozenset({matmul, Tensor.matmul, Tensor.__matmul__})
_MASKED = -9e3
"""Scores below are those of masked keys: masks add -10,000 or less, and no trained score comes near it."""
_THREAD = threading.local()


class _Watcher(ABC):
    """Context that sits in the attention of chosen modules; its hooks are gone afterwards."""

    wants_mask = False
    """Whether `emit` is told where a query may attend."""

    def __init__(self, sites: Mapping[str, nn.Module]) -> None:
        self._sites = dict(sites)
        self._thread = 0
        self._hooks: list[RemovableHandle] = []
        self._running: list[_Interception] = []

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        for name, module in self._sites.items():
            self._hooks.append(module.register_forward_pre_hook(self._enter(name), with_kwargs=True))
            self._hooks.append(module.register_forward_hook(self._leave, always_call=True))
        _watchers().append(self)
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
        _watchers().remove(self)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The modules that are watched."""
        return tuple(self._sites.values())

    def name_of(self, module: nn.Module) -> str | None:
        """Name under which `module` is watched, None if it is not."""
        return next((name for name, site in self._sites.items() if site is module), None)

    @property
    def rows(self) -> slice | None:
        """Query rows whose weights are wanted, None for all."""
        return None

    @abstractmethod
    def emit(self, name: str, weights: Tensor, packed: bool = False, allowed: Tensor | None = None) -> Tensor:
        """Take weights [B, H, Q, K] and return those that the forward shall go on with, same shape.

        `packed` marks grouped heads on the query axis [B, H_kv, repeats, K], which stand for [B, H, 1, K].
        """

    @abstractmethod
    def show(self, name: str, query: Tensor, key: Tensor, value: Tensor, mixed: Tensor) -> None:
        """Take what the attention of a call worked with."""

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


class AttentionChange(_Watcher):
    """Context in which the attention of `sites` goes on with other weights than its own.

    A recorder entered inside of it sees the changed weights: it computes attention step by step, and the
    change meets its softmax.

    Parameters
    ----------
    sites : mapping of str to nn.Module
    change : callable
        Called as ``change(name, weights, allowed)``; see `Change`. It must be idempotent and treat every
        query row by itself, for with a recorder inside, rows may come twice or alone.
    """

    wants_mask = True

    def __init__(self, sites: Mapping[str, nn.Module], change: Change) -> None:
        super().__init__(sites)
        self._change = change

    def emit(self, name: str, weights: Tensor, packed: bool = False, allowed: Tensor | None = None) -> Tensor:
        """Return the changed weights."""
        if not packed:
            return self._change(name, weights, allowed)
        shape = (weights.shape[0], -1, 1, weights.shape[-1])
        if allowed is not None:
            allowed = allowed.expand_as(weights).reshape(shape)
        return self._change(name, weights.reshape(shape), allowed).reshape(weights.shape)

    def show(self, name: str, query: Tensor, key: Tensor, value: Tensor, mixed: Tensor) -> None:
        """Nothing is kept."""


class AttentionRecorder(_Watcher):
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
    look : callable, optional
        Called as ``look(name, inside)`` too, where the module calls one of PyTorch's attention functions or
        multiplies queries by keys and weights by values itself.
    rows : slice, optional
        Query rows to record. Without `grad`, fused attention then keeps its kernel and only these rows of the
        weights are computed; modules with a single query give that one.

    Notes
    -----
    Not for compiled or scripted modules or external flash-attention kernels, which call none of the three
    functions. One recorder per model at a time, in the thread that runs the model.
    """

    def __init__(
        self,
        sites: Mapping[str, nn.Module],
        sink: Sink,
        *,
        grad: bool = False,
        rows: slice | None = None,
        look: Look | None = None,
    ) -> None:
        super().__init__(sites)
        self._sink = sink
        self._look = look
        self._grad = grad
        self._rows = None if grad else rows

    @property
    def rows(self) -> slice | None:
        """Query rows to record, None for all."""
        return self._rows

    def emit(self, name: str, weights: Tensor, packed: bool = False, allowed: Tensor | None = None) -> Tensor:
        """Report weights [B, H, Q, K] and return those that the forward shall go on with, same shape.

        `packed` marks grouped heads on the query axis [B, H_kv, repeats, K]; they are reported as
        [B, H, 1, K].
        """
        rows: _Rows | None = getattr(_THREAD, "rows", None)
        if self._grad and rows is not None:
            return rows.take(name, weights, self._sink)
        if self._grad and not weights.requires_grad:
            weights = weights.detach().requires_grad_()
        # The reported tensor must lie on the path of the forward, or it would get no gradient.
        reported = weights.reshape(weights.shape[0], -1, 1, weights.shape[-1]) if packed else weights
        if self._grad and not reported.is_leaf:
            reported.retain_grad()
        block: Block | None = getattr(_THREAD, "block", None)
        self._sink(name, reported if block is None else block.place(reported))
        return reported.reshape(weights.shape)

    def show(self, name: str, query: Tensor, key: Tensor, value: Tensor, mixed: Tensor) -> None:
        """Tell who looks what the attention of a call worked with."""
        if self._look is not None:
            self._look(name, Inside(query, repeat_heads(key, query), repeat_heads(value, query), mixed))


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


class _Rows:
    """Matrices [B, H, T, K] whose rows are the weights of T calls, one for each module."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._matrices: dict[str, Tensor] = {}
        self._taken: dict[str, int] = {}

    def take(self, name: str, weights: Tensor, sink: Sink) -> Tensor:
        """Write the weights [B, H, 1, K] of the next call; return them, by way of their row of the matrix."""
        if name not in self._matrices:
            shape = (*weights.shape[:2], self._count, weights.shape[-1])
            self._matrices[name] = weights.new_zeros(shape).requires_grad_()
            sink(name, self._matrices[name])
        matrix, row = self._matrices[name], self._taken.get(name, 0)
        self._taken[name] = row + 1
        matrix.detach()[:, :, row] = weights.detach()[:, :, 0]
        # The difference is zero: it keeps the way back to the steps before.
        return (weights - weights.detach()) + matrix[:, :, row : row + 1]


@contextmanager
def in_rows(count: int) -> Iterator[None]:
    """While active, the `count` calls of a recurrent network's attention are recorded as one matrix.

    Its steps depend on each other, so their weights come one after the other; methods want one matrix that
    gradients reach. Without gradients nothing changes: there steps are joined afterwards.
    """
    _THREAD.rows = _Rows(count)
    try:
        yield
    finally:
        del _THREAD.rows


def recording(module: nn.Module, *, changes: bool = True) -> bool:
    """Whether somebody of this thread watches `module` or a module inside it.

    Without `changes` only those count who record weights, not those who change them.
    """
    return _watched(module, [each for each in _watchers() if changes or isinstance(each, AttentionRecorder)])


def changing(module: nn.Module) -> bool:
    """Whether this thread changes the attention of `module` or a module inside it: keep nothing it gives."""
    return _watched(module, [each for each in _watchers() if isinstance(each, AttentionChange)])


def _watched(module: nn.Module, watchers: Sequence[_Watcher]) -> bool:
    watched = {id(site) for watcher in watchers for site in watcher.modules}
    return bool(watched) and any(id(inner) in watched for inner in module.modules())


@contextmanager
def standing_for(module: nn.Module) -> Iterator[None]:
    """Context for code that computes the attention of `module` for one query without calling it.

    Those of this thread who watch `module` then see its weights; without one nothing happens.
    """
    with ExitStack() as stack:
        for watcher in _watchers():
            name = watcher.name_of(module)
            if name is not None:
                stack.enter_context(cast(Any, _Interception(watcher, name, (1, 1))))
        yield


def _watchers() -> list[_Watcher]:
    if not hasattr(_THREAD, "watchers"):
        _THREAD.watchers = []
    watchers: list[_Watcher] = _THREAD.watchers
    return watchers


def _sequence_shape(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int] | None:
    """(B, Q) of the sequence [B, Q, D] that enters an attention module, None where it is none."""
    x = args[0] if args else kwargs.get("hidden_states", kwargs.get("query"))
    return (x.shape[0], x.shape[1]) if isinstance(x, Tensor) and x.dim() == 3 else None


class _Interception(TorchFunctionMode):
    """Active while one watched module runs; `entered` is (B, Q) of its input."""

    def __init__(self, watcher: _Watcher, name: str, entered: tuple[int, int] | None) -> None:
        super().__init__()
        self._watcher = watcher
        self._name = name
        self._batch = None if entered is None else entered[0]
        self._one_query = entered is not None and entered[1] == 1
        self._factors: tuple[Tensor, Tensor] | None = None
        self._weights: Tensor | None = None

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
            self._weights = self._written_out(result, args[0] if args else kwargs["input"])
            return self._weights
        if func in _PRODUCTS and len(args) == 2:
            self._multiplied(args[0], args[1], result)
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
        rows = self._watcher.rows
        if rows is not None and query.shape[-2] > 1 and not self._one_query:
            mixed = functional.scaled_dot_product_attention(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )
            if mask is not None and mask.shape[-2] > 1:
                mask = mask[..., rows, :]
            weights = attention_weights(query[..., rows, :], key, mask, scale)
            return mixed, self._watcher.emit(self._name, weights)
        weights = attention_weights(query, key, mask, scale)  # [B, H, Q, K]
        # With one query, transformers packs grouped heads on the query axis.
        packed = may_be_packed and self._one_query and weights.dim() == 4 and weights.shape[2] != 1
        weights = self._watcher.emit(self._name, weights, packed, self._allowed(mask))
        mixed = functional.dropout(weights, dropout_p) @ repeat_heads(value, query).to(weights.dtype)
        self._watcher.show(self._name, query, key, value, mixed)
        return mixed.to(query.dtype), weights

    def _multi_head(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """`nn.MultiheadAttention` on [Q, B, D]."""
        call = MultiHeadCall.parse(args, kwargs)
        mixed, weights = self._attend(
            call.query, call.key, call.value, call.mask, call.dropout, may_be_packed=False
        )
        return call.finish(mixed, weights)

    def _written_out(self, weights: Tensor, scores: Tensor) -> Tensor:
        """Softmax weights of a module that writes its attention out; [B * H, Q, K] is split by the batch."""
        allowed = self._allowed(scores)
        if weights.dim() != 3 or not self._batch or weights.shape[0] % self._batch:
            return self._watcher.emit(self._name, weights, False, allowed)
        shape = (self._batch, -1, *weights.shape[1:])
        allowed = None if allowed is None else allowed.reshape(shape)
        return self._watcher.emit(self._name, weights.reshape(shape), False, allowed).reshape(weights.shape)

    def _multiplied(self, left: Tensor, right: Tensor, result: Tensor) -> None:
        """A product in a module that writes its attention out: queries by keys, then weights by values."""
        if left is not self._weights:
            self._factors = (left, right)
        elif self._factors is not None and result.dim() == 4:
            query, turned = self._factors
            self._watcher.show(self._name, query, turned.transpose(-1, -2), right, result)

    def _allowed(self, mask: Tensor | None) -> Tensor | None:
        """Where a mask, or scores that hold it, let a query attend, if somebody wants to know."""
        if mask is None or not self._watcher.wants_mask:
            return None
        return mask if mask.dtype == torch.bool else mask > _MASKED


def _over_last_axis(args: tuple[Any, ...], kwargs: dict[str, Any], dimensions: int) -> bool:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return axis in (-1, dimensions - 1)
