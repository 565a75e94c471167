"""The recorder against PyTorch's own weights, on bare attention modules."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.capture.mechanism import AttentionRecorder, Block, placed, recording

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 4, 5, 7, 32


class Wrapped(nn.Module):
    """A model whose attention is `site`."""

    def __init__(self, site: nn.Module) -> None:
        super().__init__()
        self.site = site

    def forward(self, *args, **kwargs):
        result = self.site(*args, **kwargs)
        return result[0] if isinstance(result, tuple) else result


class Fused(nn.Module):
    def forward(self, query, key, value, **options):
        return functional.scaled_dot_product_attention(query, key, value, **options)


class WrittenOut(nn.Module):
    """Attention spelled out on [B * H, Q, K], as older modules do."""

    def forward(self, x):
        heads = x.view(BATCH, -1, HEADS, WIDTH // HEADS).transpose(1, 2).flatten(0, 1)
        return functional.softmax(heads @ heads.transpose(1, 2), dim=-1) @ heads


def record(model: Wrapped, *args, grad=False, rows=None, **kwargs) -> tuple[Tensor, list[Tensor]]:
    seen: list[Tensor] = []
    with AttentionRecorder(
        {"site": model.site}, lambda _, weights: seen.append(weights), grad=grad, rows=rows
    ):
        output = model(*args, **kwargs)
    return output, seen


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


PADDING = torch.tensor([[False] * KEYS, [False] * 5 + [True] * 2])
MHA_MASKS = {
    "none": {},
    "boolean": {"attn_mask": torch.rand(QUERIES, KEYS, generator=torch.Generator().manual_seed(1)) > 0.7},
    "added per head": {
        "attn_mask": torch.randn(BATCH * HEADS, QUERIES, KEYS, generator=torch.Generator().manual_seed(2))
    },
    "padding": {"key_padding_mask": PADDING},
    "both": {"attn_mask": torch.full((QUERIES, KEYS), -0.5), "key_padding_mask": PADDING.float() * -9},
}


@pytest.mark.parametrize(
    "options", [{}, {"kdim": 24, "vdim": 24}, {"bias": False}], ids=["same", "kdim", "no bias"]
)
@pytest.mark.parametrize("mask", MHA_MASKS.values(), ids=MHA_MASKS.keys())
def test_multi_head_attention_weights_are_pytorchs_own(options, mask):
    site = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **options).eval()
    model = Wrapped(site)
    query, key = torch.randn(BATCH, QUERIES, WIDTH), torch.randn(BATCH, KEYS, options.get("kdim", WIDTH))
    with torch.no_grad():
        expected, weights = site(query, key, key, need_weights=True, average_attn_weights=False, **mask)
        output, seen = record(model, query, key, key, need_weights=False, **mask)
    assert len(seen) == 1
    torch.testing.assert_close(seen[0], weights, atol=1e-5, rtol=0)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


def test_callers_that_want_the_weights_still_get_them():
    site = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    x = torch.randn(BATCH, QUERIES, WIDTH)
    plain = site(x, x, x)
    with AttentionRecorder({"site": site}, lambda *_: None):
        recorded = site(x, x, x)
    torch.testing.assert_close(recorded[1], plain[1])


def test_sequence_first_attention_with_one_item_is_not_taken_for_one_query():
    site = nn.MultiheadAttention(WIDTH, HEADS).eval()
    x = torch.randn(QUERIES, 1, WIDTH)
    _, seen = record(Wrapped(site), x, x, x)
    assert seen[0].shape == (1, HEADS, QUERIES, QUERIES)


def test_variants_that_cannot_be_recorded_say_so():
    site = nn.MultiheadAttention(WIDTH, HEADS, add_bias_kv=True, batch_first=True)
    x = torch.randn(BATCH, QUERIES, WIDTH)
    with pytest.raises(NotImplementedError, match="cannot be recorded"):
        record(Wrapped(site), x, x, x)
    assert not site._forward_hooks


LEFT_PADDED = torch.ones(BATCH, 1, 6, 6, dtype=torch.bool).tril()
LEFT_PADDED[0, :, :, :2] = False
SDPA_CASES = {
    "plain": {},
    "causal": {"is_causal": True},
    "left padding": {"attn_mask": LEFT_PADDED},
    "added": {"attn_mask": torch.randn(BATCH, 1, 6, 6, generator=torch.Generator().manual_seed(3))},
    "added to all rows": {
        "attn_mask": torch.randn(BATCH, 1, 1, 6, generator=torch.Generator().manual_seed(4))
    },
    "scale": {"scale": 0.3},
    "grouped heads": {"enable_gqa": True},
}


def sdpa_inputs(grouped: bool) -> tuple[Tensor, Tensor, Tensor]:
    heads = 2 if grouped else HEADS
    return torch.randn(BATCH, HEADS, 6, 8), torch.randn(BATCH, heads, 6, 8), torch.randn(BATCH, heads, 6, 8)


@pytest.mark.parametrize("options", SDPA_CASES.values(), ids=SDPA_CASES.keys())
def test_scaled_dot_product_attention_gives_the_same_output_and_the_weights_that_make_it(options):
    query, key, value = sdpa_inputs(bool(options.get("enable_gqa")))
    model = Wrapped(Fused())
    expected = model(query, key, value, **options)
    output, (weights,) = record(model, query, key, value, **options)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    repeated = value.repeat_interleave(HEADS // value.shape[1], dim=1)
    torch.testing.assert_close(weights @ repeated, expected, atol=1e-5, rtol=0)
    sums = weights.sum(-1)
    assert bool(((sums - 1).abs() < 1e-5).logical_or(sums == 0).all())


@pytest.mark.parametrize("options", SDPA_CASES.values(), ids=SDPA_CASES.keys())
def test_chosen_rows_are_those_of_the_whole(options):
    query, key, value = sdpa_inputs(bool(options.get("enable_gqa")))
    model = Wrapped(Fused())
    _, (whole,) = record(model, query, key, value, **options)
    output, (rows,) = record(model, query, key, value, rows=slice(-2, None), **options)
    torch.testing.assert_close(rows, whole[:, :, -2:], atol=1e-6, rtol=0)
    assert torch.equal(output, model(query, key, value, **options))


def test_half_precision_keeps_its_type_and_reports_float32():
    query, key, value = (x.bfloat16() for x in sdpa_inputs(grouped=False))
    output, (weights,) = record(Wrapped(Fused()), query, key, value)
    assert output.dtype is torch.bfloat16
    assert weights.dtype is torch.float32
    exact = functional.softmax(query.float() @ key.float().transpose(-1, -2) / 8**0.5, dim=-1)
    torch.testing.assert_close(weights, exact, atol=1e-6, rtol=0)


def test_double_precision_stays_double():
    query, key, value = (x.double() for x in sdpa_inputs(grouped=False))
    assert record(Wrapped(Fused()), query, key, value)[1][0].dtype is torch.float64


def test_grouped_heads_packed_on_the_query_axis_are_unpacked():
    class Packed(nn.Module):
        def forward(self, hidden_states):
            query = torch.ones(1, 2, 3, 8)  # two groups of three heads, one query
            return functional.scaled_dot_product_attention(
                query, torch.ones(1, 2, 9, 8), torch.ones(1, 2, 9, 8)
            )

    output, (weights,) = record(Wrapped(Packed()), torch.ones(1, 1, 8))
    assert weights.shape == (1, 6, 1, 9)
    assert output.shape == (1, 2, 3, 8)


def test_written_out_attention_is_split_into_heads():
    model = Wrapped(WrittenOut())
    x = torch.randn(BATCH, QUERIES, WIDTH)
    expected = model(x)
    output, (weights,) = record(model, x)
    assert weights.shape == (BATCH, HEADS, QUERIES, QUERIES)
    assert torch.equal(output, expected)


@pytest.mark.parametrize("options", [{}, {"attn_mask": LEFT_PADDED}], ids=["plain", "fully masked rows"])
def test_gradients_of_the_weights_are_right(options):
    query, key, value = sdpa_inputs(grouped=False)
    output, (weights,) = record(Wrapped(Fused()), query, key, value, grad=True, **options)
    assert weights.is_leaf
    (gradient,) = torch.autograd.grad(output.square().sum() / 2, weights)
    torch.testing.assert_close(gradient, output.detach() @ value.transpose(-1, -2), atol=1e-5, rtol=1e-5)
    assert bool(gradient.isfinite().all())


def test_an_exception_leaves_no_hook_and_no_mode():
    class Broken(nn.Module):
        def forward(self, x):
            functional.scaled_dot_product_attention(x, x, x)
            raise RuntimeError("boom")

    model = Wrapped(Broken())
    seen: list[Tensor] = []
    x = torch.randn(1, 2, 3, 4)
    recorder = AttentionRecorder({"site": model.site}, lambda _, weights: seen.append(weights))
    with pytest.raises(RuntimeError, match="boom"), recorder:
        model(x)
    assert not model.site._forward_hooks
    assert not model.site._forward_pre_hooks
    functional.softmax(x, dim=-1)  # would be seen by a mode left behind
    assert len(seen) == 1


def test_an_interrupt_leaves_no_mode():
    class Interrupted(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    model = Wrapped(Interrupted())
    seen: list[Tensor] = []
    recorder = AttentionRecorder({"site": model.site}, lambda _, weights: seen.append(weights))
    with pytest.raises(KeyboardInterrupt), recorder:
        model(torch.randn(1, 2, 3))
    functional.softmax(torch.randn(2, 3, 4), dim=-1)
    assert not seen


def test_only_the_chosen_module_is_recorded_and_others_keep_their_kernel():
    chosen, other = Wrapped(Fused()), Wrapped(Fused())
    inputs = sdpa_inputs(grouped=False)
    seen: list[Tensor] = []
    with AttentionRecorder({"site": chosen.site}, lambda _, weights: seen.append(weights)):
        other(*inputs)
        functional.softmax(inputs[0], dim=-1)
        assert not seen
        chosen(*inputs)
    assert len(seen) == 1


def test_threads_do_not_mix():
    model = Wrapped(Fused())
    inputs = sdpa_inputs(grouped=False)
    seen: list[int] = []
    errors: list[Exception] = []

    def other() -> None:
        try:
            for _ in range(300):
                model(*inputs)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong there fails the test
            errors.append(error)

    with AttentionRecorder({"site": model.site}, lambda *_: seen.append(threading.get_ident())):
        thread = threading.Thread(target=other)
        thread.start()
        for _ in range(300):
            model(*inputs)
        thread.join()
    assert not errors
    assert seen == [threading.get_ident()] * 300


def test_recording_knows_what_is_watched():
    model, other = Wrapped(Fused()), Wrapped(Fused())
    assert not recording(model)
    with AttentionRecorder({"site": model.site}, lambda *_: None):
        assert recording(model)
        assert recording(model.site)
        assert not recording(other)
    assert not recording(model)


def test_a_block_is_reported_at_its_place_in_the_whole():
    model = Wrapped(Fused())
    inputs = sdpa_inputs(grouped=False)
    _, (whole,) = record(model, *inputs)
    with placed(Block(skip=2, offset=6, keys=20)):
        _, (block,) = record(model, *inputs)
    assert block.shape == (BATCH, HEADS, 4, 20)
    torch.testing.assert_close(block[..., 6:12], whole[:, :, 2:])
    assert not block[..., :6].any()
    assert not block[..., 12:].any()
