"""What a network drawn at random is made of: kinds of steps, each a function of the network and of a tensor's place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from random_shapes import Pool, Step, image, joined, parted, reshaped, sliced, stretched, transformed, written
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from random_graphs import Drawn


def broadcasts(x: Tensor) -> Callable[[Tensor], bool]:
    def fits(y: Tensor) -> bool:
        return y.ndim == x.ndim and all(a == b or 1 in (a, b) for a, b in zip(x.shape, y.shape, strict=True))

    return fits


def linear(g: Drawn, i: int, wide: bool = False) -> Step:
    layer = g.layer(nn.Linear(g.pool[i].shape[-1], g.rng.choice([6, 8, 12] if wide else [1, 2, 3, 4, 6, 8, 9])))
    return lambda p: layer(p[i])


def convolution(g: Drawn, i: int, wide: bool = False) -> Step | None:
    x = g.pool[i]
    if x.ndim not in (3, 4):
        return None
    kinds = {3: (nn.Conv1d, nn.ConvTranspose1d), 4: (nn.Conv2d, nn.ConvTranspose2d)}[x.ndim]
    kind, kernel = kinds[g.rng.random() < 0.2], g.rng.choice([1, 3])
    groups = 1 if wide else g.rng.choice([1, 1, g.divisor(x.shape[1]), x.shape[1]])
    out = g.rng.choice([6, 8, 12]) if wide else groups * g.rng.choice([1, 2, 3] if groups > 1 else [1, 2, 4, 6, 8])
    layer = g.layer(kind(x.shape[1], out, kernel, padding=kernel // 2, groups=groups))
    return lambda p: layer(p[i])


def depthwise(g: Drawn, i: int) -> Step | None:
    x = g.pool[i]
    if x.ndim != 4:
        return None
    layer = g.layer(nn.Conv2d(x.shape[1], x.shape[1] * g.rng.choice([1, 2]), 3, padding=1, groups=x.shape[1]))
    return lambda p: layer(p[i])


def statistics(g: Drawn, i: int) -> Step | None:
    """A batch norm, with a slope a channel."""
    x = g.pool[i]
    if x.ndim not in (3, 4):
        return None
    layer = g.layer((nn.BatchNorm1d, nn.BatchNorm2d)[x.ndim - 3](x.shape[1]))
    slope = g.layer(nn.PReLU(g.rng.choice([1, x.shape[1]])))
    return lambda p: slope(layer(p[i]))


def norm(g: Drawn, i: int) -> Step | None:
    x = g.pool[i]
    kind, last = g.rng.choice("gilr"), g.rng.choice([1, 1, min(2, x.ndim - 1)])
    if kind == "i" and x.ndim in (3, 4) and math.prod(x.shape[2:]) > 1:
        layer = g.layer((nn.InstanceNorm1d, nn.InstanceNorm2d)[x.ndim - 3](x.shape[1], affine=True))
    elif kind == "g" and x.ndim > 2:
        groups = g.divisor(x.shape[1])
        if math.prod(x.shape[1:]) == groups:
            return None  # one value a group: torch itself refuses that for a single sample
        layer = g.layer(nn.GroupNorm(groups, x.shape[1]))
    else:
        layer = g.layer((nn.LayerNorm if kind == "l" else nn.RMSNorm)(x.shape[-last:]))
    return lambda p: layer(p[i])


def recurrent(g: Drawn, i: int) -> Step | None:
    x = g.pool[i]
    if x.ndim != 3:
        return None
    hidden, both, layers = g.rng.choice([3, 4]), g.rng.random() < 0.3, g.rng.choice([1, 1, 2])
    kind = g.rng.choice([nn.LSTM, nn.GRU, nn.RNN])
    more = {"proj_size": 2} if kind is nn.LSTM and g.rng.random() < 0.5 else {}
    layer = g.layer(kind(x.shape[-1], hidden, layers, batch_first=True, bidirectional=both, **more))
    return lambda p: layer(p[i])[0]


def attention(g: Drawn, i: int) -> Step | None:
    """Queries, keys and values out of one projection, taken apart in each way that is in use."""
    x = g.pool[i]
    if x.ndim != 3:
        return None
    heads, features = g.rng.choice([(1, 4), (2, 3), (4, 1), (3, 2), (1, 1)])
    qkv = g.layer(nn.Linear(x.shape[-1], 3 * heads * features))
    how, fused = g.rng.choice("abcde"), g.rng.random() < 0.5

    def step(p: Pool) -> Tensor:
        b, n, _ = p[i].shape
        y = qkv(p[i]).view(b, n, 3, heads, features).permute(2, 0, 3, 1, 4)
        ways: dict[str, Callable[[], list[Tensor]]] = {
            "a": lambda: [y[j : j + 1].squeeze(0) for j in range(3)],
            "b": lambda: [part.squeeze(0) for part in y.split(1)],
            "c": lambda: list(y.unbind(0)),
            "d": lambda: [y[j] for j in range(3)],
            "e": lambda: [part.reshape(b, heads, n, features) for part in y.chunk(3)],
        }
        q, k, v = ways[how]()
        by_hand = (q @ k.transpose(-2, -1) * 0.7).softmax(-1)
        out = F.scaled_dot_product_attention(q, k, v) if fused else by_hand @ v
        return out.transpose(1, 2).reshape(b, n, heads * features)

    return step


def excitation(g: Drawn, i: int) -> Step | None:
    x = g.pool[i]
    if x.ndim != 4:
        return None
    middle = g.rng.choice([1, 2, 3])
    a, b = g.layer(nn.Conv2d(x.shape[1], middle, 1)), g.layer(nn.Conv2d(middle, g.rng.choice([1, x.shape[1]]), 1))
    return lambda p: p[i] * b(a(F.adaptive_avg_pool2d(p[i], 1)).relu()).sigmoid()


def fusion(g: Drawn, i: int) -> Step | None:
    """Several tensors weighted by the channels of one softmax (ASFF)."""
    x, j = g.pool[i], g.another(lambda y: y.shape == g.pool[i].shape)
    if x.ndim not in (3, 4) or j is None:
        return None
    layer = g.layer((nn.Conv1d, nn.Conv2d)[x.ndim - 3](x.shape[1], 2, 1))

    def step(p: Pool) -> Tensor:
        w = layer(p[i]).softmax(1)
        return p[i] * w[:, 0:1] + p[j] * w[:, 1:2]

    return step


def zero_at_zero(g: Drawn, i: int) -> Step:
    function = g.rng.choice([F.relu, torch.tanh, F.gelu, F.silu, torch.abs, F.hardswish, torch.square])
    return lambda p: function(p[i])


def activation(g: Drawn, i: int) -> Step:
    function = g.rng.choice([torch.sigmoid, torch.cos, F.softplus, lambda x: x.clamp(-0.5, 0.5).exp(), lambda x: 1 - x])
    return lambda p: function(p[i])


def combine(g: Drawn, i: int) -> Step | None:
    j = g.another(broadcasts(g.pool[i]))
    function = g.rng.choice([torch.add, torch.mul, torch.sub, torch.maximum])
    if j is None:
        return None
    if function is not torch.mul and g.pool[i].shape != g.pool[j].shape:
        g.zeros_stay = False
    return lambda p: function(p[i], p[j])


def gate(g: Drawn, i: int) -> Step | None:
    """The rest of a dimension, gated by one element of it or by as many again."""
    x, d = g.pool[i], g.axis(g.pool[i])
    n, function = x.shape[d], g.rng.choice([torch.tanh, F.relu])
    if n < 2:
        return None
    if n % 2 == 0 and g.rng.random() < 0.3:
        return lambda p: p[i].narrow(d, 0, n // 2) * function(p[i].narrow(d, n // 2, n // 2))
    first = g.rng.choice([0, n - 1])
    return lambda p: p[i].narrow(d, 1 - (first > 0), n - 1) * function(p[i].narrow(d, first, 1))


def scaled(g: Drawn, i: int) -> Step:
    """A learned factor an element of one dimension, or one for all."""
    x, d = g.pool[i], g.axis(g.pool[i])
    factor, shape = g.number(g.rng.choice([1, x.shape[d]])), [-1 if k == d else 1 for k in range(x.ndim)]
    return lambda p: p[i] * factor().view(shape)


def shifted(g: Drawn, i: int) -> Step:
    x, d = g.pool[i], g.axis(g.pool[i])
    shift = g.number(*[n if k == d or (k and g.rng.random() < 0.3) else 1 for k, n in enumerate(x.shape)])
    return lambda p: p[i] + shift()


def masked(g: Drawn, i: int) -> Step:
    j = g.another(lambda y: y.shape == g.pool[i].shape)
    if j is not None and g.rng.random() < 0.5:
        return lambda p: torch.where(p[j] > 0, p[i], p[j])
    return lambda p: p[i].masked_fill(p[i] < 0, 0.0)


def halves(g: Drawn, i: int) -> Step | None:
    x, d = g.pool[i], g.axis(g.pool[i])
    return (lambda p: F.glu(p[i], d)) if x.shape[d] % 2 == 0 else None


def reduced(g: Drawn, i: int) -> Step | None:
    x, d = g.pool[i], g.axis(g.pool[i])
    ways: list[Step] = [
        lambda p: p[i].sum(d, keepdim=True),
        lambda p: p[i].amax(d, keepdim=True),
        lambda p: p[i] * p[i].sum(d, keepdim=True),
        lambda p: p[i] / (p[i].norm(dim=d, keepdim=True) + 0.1).expand_as(p[i]),
        lambda p: F.normalize(p[i], dim=d, eps=0.1),
        lambda p: p[i].sum(d) if x.ndim > 2 else p[i],
        lambda p: p[i].cumsum(d),
    ]
    return g.rng.choice(ways)


def averaged(g: Drawn, i: int) -> Step | None:
    x, d = g.pool[i], g.axis(g.pool[i])
    ways: list[Step] = [
        lambda p: p[i] - p[i].mean(d, keepdim=True),
        lambda p: p[i].mean(d, keepdim=True),
        lambda p: p[i] / (p[i].var(d, correction=0, keepdim=True) + 1).sqrt(),
        lambda p: p[i].mean(d) if x.ndim > 2 else p[i],
        lambda p: p[i].softmax(d),
        lambda p: p[i] * p[i].mean(list(range(1, x.ndim)), keepdim=True),
    ]
    return g.rng.choice(ways)


def product(g: Drawn, i: int) -> Step | None:
    """A matrix product with itself, with a parameter, or with one by einsum."""
    x = g.pool[i]
    inner, free = x.shape[-1], g.rng.choice([1, 3, 4])
    if g.rng.random() < 0.4 and x.ndim > 2:
        return lambda p: p[i] @ (p[i].transpose(-1, -2) @ p[i])
    letters = "".join("bcdef"[: x.ndim])
    weight, shared = g.number(inner, free), g.number(x.shape[1], inner, free)
    ways: list[Step] = [
        lambda p: p[i] @ weight(),
        lambda p: torch.einsum(f"{letters},{letters[-1]}z->{letters[:-1]}z", p[i], weight()),
    ]
    if x.ndim > 2:
        ways.append(lambda p: torch.einsum(f"{letters},c{letters[-1]}z->{letters[:-1]}z", p[i], shared()))
    return g.rng.choice(ways)


EXACT: dict[str, Callable[..., Step | None]] = {
    **{f.__name__: f for f in (linear, convolution, depthwise, statistics, recurrent, zero_at_zero, combine, gate)},
    **{f.__name__: f for f in (scaled, masked, reduced, product, sliced, parted, reshaped, joined, stretched)},
    **{f.__name__: f for f in (image, transformed, written)},
}
"""Kinds of steps that give zero for zero, element by element, or say that they do not."""

INEXACT: dict[str, Callable[..., Step | None]] = {
    f.__name__: f for f in (norm, attention, excitation, fusion, activation, shifted, halves, averaged)
}
"""Kinds of steps that average over what is cut, or give something for zero."""
