"""Transformers: who sees whom."""

import torch

from whet.networks.transformer import Attention, Decoder, Encoder, TransformerBlock

torch.manual_seed(0)


def test_the_decoder_sees_the_past_alone() -> None:
    module = Decoder(20, 9, 16, 2, 2).eval()
    tokens = torch.randint(0, 19, (2, 9))
    other = tokens.clone()
    other[:, 5] = 19
    a, b = module(tokens), module(other)
    torch.testing.assert_close(a[:, :5], b[:, :5])
    assert not torch.allclose(a[:, 5:], b[:, 5:])


def test_the_encoder_without_positions_does_not_know_any_order() -> None:
    module = Encoder(6, 3, 7, 16, 2, 2).eval()
    torch.nn.init.zeros_(module.positions)
    x = torch.randn(2, 7, 6)
    torch.testing.assert_close(module(x), module(x[:, torch.randperm(7)]), rtol=1e-4, atol=1e-5)


def test_attention_to_equal_keys_is_their_mean() -> None:
    attention, x = Attention(8, 2, causal=False), torch.randn(1, 5, 8)
    with torch.no_grad():
        attention.qkv.weight[8:16] = 0
        attention.qkv.bias[8:16] = 0
    values = attention.qkv(x).chunk(3, -1)[2].mean(1, keepdim=True)
    torch.testing.assert_close(attention(x), attention.project(values).expand(1, 5, 8), rtol=1e-4, atol=1e-5)


def test_a_block_adds_twice() -> None:
    block, x = TransformerBlock(8, 2, causal=True), torch.randn(1, 5, 8)
    y = x + block.attention(block.attention_norm(x))
    torch.testing.assert_close(block(x), y + block.mlp(block.mlp_norm(y)))
