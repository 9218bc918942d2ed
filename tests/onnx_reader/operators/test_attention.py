"""Attention in its forms: what a cache, a mask, grouped heads and a cap change; recurrences step by step."""

import math

import pytest
import torch
from rows import row

from whet.onnx_reader.values import NotRead

torch.manual_seed(0)
Q, K, V = torch.randn(1, 4, 3, 8), torch.randn(1, 2, 3, 8), torch.randn(1, 2, 3, 8)


def by_hand(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | float = 0.0) -> torch.Tensor:
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    return torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[3]) + bias, -1) @ v


def test_query_heads_share_the_keys_of_their_group() -> None:
    torch.testing.assert_close(row("Attention", Q, K, V), by_hand(Q, K, V))


def test_three_dimensions_are_heads_side_by_side() -> None:
    flat = [x.transpose(1, 2).flatten(2) for x in (Q, K, V)]
    found = row("Attention", *flat, q_num_heads=4, kv_num_heads=2)
    torch.testing.assert_close(found, by_hand(Q, K, V).transpose(1, 2).flatten(2))


def test_a_cache_stands_before_the_keys_and_moves_the_causal_mask() -> None:
    whole = by_hand(Q, K, V, torch.full((3, 3), -math.inf).triu(1))
    past = (K[:, :, :2], V[:, :, :2])
    last, keys, values = row(
        "Attention", Q[:, :, 2:], K[:, :, 2:], V[:, :, 2:], None, *past, is_causal=1, outputs=3
    )  # fmt: skip
    torch.testing.assert_close(last, whole[:, :, 2:])
    assert torch.equal(keys, K) and torch.equal(values, V)


def test_a_query_that_may_look_at_nothing_gets_zeros_not_nan() -> None:
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    found = row("Attention", Q, K, V, mask)
    assert (found[:, :, 1] == 0).all() and torch.isfinite(found).all()


def test_scores_are_capped_and_come_out_at_the_stage_asked_for() -> None:
    stages = [row("Attention", Q, K, V, softcap=0.1, qk_matmul_output_mode=m, outputs=4)[3] for m in (0, 1, 3)]
    assert stages[0].abs().max() > 0.1 >= stages[1].abs().max()
    torch.testing.assert_close(stages[2].sum(-1), torch.ones(1, 4, 3))
    with pytest.raises(NotRead, match="0 to 3 are allowed"):
        row("Attention", Q, K, V, qk_matmul_output_mode=7, outputs=4)


def test_a_linear_rule_is_attention_without_softmax() -> None:
    q, k, v = (torch.randn(1, 4, 6) for _ in range(3))
    found, state = row("LinearAttention", q, k, v, update_rule="linear", q_num_heads=1, kv_num_heads=1, scale=1.0)
    torch.testing.assert_close(found, (q @ k.transpose(1, 2)).tril() @ v)
    torch.testing.assert_close(state[:, 0], k.transpose(1, 2) @ v)
    with pytest.raises(NotRead, match="update rule 'gated' with these inputs"):
        row("LinearAttention", q, k, v, update_rule="gated", q_num_heads=1, kv_num_heads=1)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotation_keeps_lengths_and_turns_by_the_angle(interleaved: int) -> None:
    x, angle = torch.randn(1, 2, 3, 4), torch.rand(1, 3, 2)
    found = row("RotaryEmbedding", x, angle.cos(), angle.sin(), interleaved=interleaved)
    torch.testing.assert_close(found.norm(dim=-1), x.norm(dim=-1))
    back = row("RotaryEmbedding", found, angle.cos(), -angle.sin(), interleaved=interleaved)
    torch.testing.assert_close(back, x)
