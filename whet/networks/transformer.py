"""Pre-norm transformers: an encoder of vectors and a decoder of characters (Vaswani et al. 2017; Xiong et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.heads, self.causal, self.head_width = heads, causal, width // heads

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, context, width) of (N, context, width); a causal one looks at no later position."""
        shape = (x.shape[0], x.shape[1], self.heads, self.head_width)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        projected: Tensor = self.project(y.transpose(1, 2).flatten(2))
        return projected


class TransformerBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, context, width) of (N, context, width)."""
        x = x + self.attention(self.attention_norm(x))
        y: Tensor = x + self.mlp(self.mlp_norm(x))
        return y


class Encoder(nn.Module):
    """Input `(N, context, features)`, output `(N, classes)` from the mean over positions."""

    def __init__(
        self,
        features: int = 64,
        classes: int = 10,
        context: int = 128,
        width: int = 384,
        heads: int = 6,
        layers: int = 6,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.positions = nn.Parameter(torch.randn(1, context, width) * 0.02)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, causal=False) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of vectors (N, context, features)."""
        y: Tensor = self.head(self.norm(self.blocks(self.embed(x) + self.positions)).mean(1))
        return y


class Decoder(nn.Module):
    """A language model: input `(N, context)` of token numbers, output logits `(N, context, vocabulary)`."""

    def __init__(self, vocabulary: int, context: int = 128, width: int = 192, heads: int = 6, layers: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(1, context, width) * 0.02)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, causal=True) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (N, context, vocabulary) of the characters that follow `tokens` (N, context)."""
        logits: Tensor = self.head(self.norm(self.blocks(self.embed(tokens) + self.positions)))
        return logits
