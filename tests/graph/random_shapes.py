"""Steps of a random network that move, join, stretch and replace elements; the others are in `random_steps`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from random_graphs import Drawn

Pool = list[Tensor]
Step = Callable[[Pool], Tensor]


def sliced(g: Drawn, i: int) -> Step | None:
    x, d = g.pool[i], g.axis(g.pool[i])
    n = x.shape[d]
    start = g.rng.randrange(n)
    stop, step = g.rng.randint(start + 1, n), g.rng.choice([1, 1, 2])
    order = g.rng.sample(range(n), g.rng.randint(1, n))
    ways: list[Step] = [
        lambda p: p[i].movedim(d, 1)[:, start:stop:step],
        lambda p: p[i].narrow(d, start, stop - start),
        lambda p: p[i].select(d, start) if x.ndim > 2 else p[i],
        lambda p: p[i].narrow(d, start, 1).squeeze(d) if x.ndim > 2 else p[i],
        lambda p: p[i].flip(d),
        lambda p: p[i].roll(1, d),
        lambda p: p[i].movedim(d, 1)[:, order],
    ]
    return g.rng.choice(ways)


def parted(g: Drawn, i: int) -> Step | None:
    """Parts of a dimension, joined in another order or added up."""
    x, d = g.pool[i], g.axis(g.pool[i])
    n = x.shape[d]
    cuts = sorted(g.rng.sample(range(1, n), min(n - 1, g.rng.choice([1, 2]))))
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, n], strict=True)]
    equal = g.divisor(n)
    ways: list[Callable[[Tensor], list[Tensor]]] = [
        lambda x: list(x.split(sizes, d)),
        lambda x: list(x.chunk(n // equal, d)),
        lambda x: list(x.split(1, d)),
        lambda x: [part.unsqueeze(d) for part in x.unbind(d)],
    ]
    way, kept, function = g.rng.choice(ways), g.rng.random(), g.rng.choice([F.relu, torch.tanh, lambda x: x])

    def step(p: Pool) -> Tensor:
        parts = way(p[i])
        parts[0] = function(parts[0])
        if kept < 0.3 and all(part.shape == parts[0].shape for part in parts):
            return torch.stack(parts, d).sum(d) if kept < 0.15 else torch.stack(parts, 1)
        return torch.cat(parts[::-1] if kept < 0.8 else parts[:2], d)

    return step


def reshaped(g: Drawn, i: int) -> Step:
    """Dimensions split, merged, exchanged, of one element put in and taken out."""
    x, d = g.pool[i], g.axis(g.pool[i])
    part, e = g.divisor(x.shape[d]), g.axis(g.pool[i])
    shape = list(x.shape[1:])
    split = [*shape[: d - 1], part, x.shape[d] // part, *shape[d:]]
    merged = [*shape[: d - 1], math.prod(shape[d - 1 : d + 1]), *shape[d + 1 :]]
    rest = g.rng.sample(range(1, x.ndim), x.ndim - 1)
    ways: list[Step] = [
        lambda p: p[i].reshape(p[i].shape[0], *split),
        lambda p: p[i].reshape(p[i].shape[0], *merged),
        lambda p: p[i].unflatten(d, (part, -1)).transpose(d, d + 1).flatten(d, d + 1),
        lambda p: p[i].transpose(d, e),
        lambda p: p[i].permute(0, *rest),
        lambda p: p[i].unsqueeze(d),
        lambda p: p[i].squeeze(d),
        lambda p: p[i].flatten(0, 1).tanh().reshape(p[i].shape),
        lambda p: p[i].reshape(p[i].shape[0], 1, -1),
        lambda p: p[i].flatten(1).tanh().view_as(p[i]) * p[i],
        lambda p: p[i].unfold(d, 2, 1) if x.shape[d] > 2 else p[i],
        lambda p: p[i].unflatten(d, (part, -1)).squeeze(d),
    ]
    return g.rng.choice(ways)


def joined(g: Drawn, i: int) -> Step:
    x, d = g.pool[i], g.axis(g.pool[i])
    j = g.another(lambda y: y.ndim == x.ndim and all(k == d or y.shape[k] == x.shape[k] for k in range(x.ndim)))
    other = i if j is None else j
    return lambda p: torch.cat([p[i], p[other]], d)


def stretched(g: Drawn, i: int) -> Step:
    x, d = g.pool[i], g.axis(g.pool[i])
    times = [2 if k == d else 1 for k in range(x.ndim)]
    sizes = [3 if k == d else -1 for k in range(x.ndim + 1)]
    ways: list[Step] = [
        lambda p: p[i].repeat(*times),
        lambda p: p[i].repeat_interleave(2, d),
        lambda p: p[i].unsqueeze(d).expand(sizes),
        lambda p: p[i].narrow(d, 0, 1).expand_as(p[i]) * p[i],
        lambda p: F.pad(p[i], (g_low, g_high)),
        lambda p: F.pad(p[i], (0, 0, g_low, g_high)) if x.ndim > 2 else p[i],
    ]
    g_low, g_high = g.rng.choice([-1, 0, 1, 2]) if x.shape[-1] > 2 < x.shape[-2] else 1, g.rng.choice([0, 1])
    way = g.rng.choice(ways)
    if way is ways[2] or x.shape[d] == 1:
        g.zeros_stay = False  # how many copies there are is in no parameter
    return way


def image(g: Drawn, i: int) -> Step | None:
    x = g.pool[i]
    if x.ndim != 4 or x.shape[2] != x.shape[3]:
        return None
    size, ways = x.shape[2], [lambda p: F.interpolate(p[i], scale_factor=2), lambda p: F.adaptive_avg_pool2d(p[i], 1)]
    if size % 2 == 0:
        ways += [lambda p: F.max_pool2d(p[i], 2), lambda p: F.avg_pool2d(p[i], 2)]
        ways += [lambda p: F.fold(F.unfold(p[i], 2, stride=2).tanh(), size, 2, stride=2)]
    if size >= 2:
        ways += [lambda p: F.unfold(p[i], 2)]
    if x.shape[1] % 4 == 0:
        ways += [lambda p: F.pixel_shuffle(p[i], 2), lambda p: F.channel_shuffle(p[i], 2)]
        ways += [lambda p: F.pixel_unshuffle(F.pixel_shuffle(p[i], 2).relu(), 2)]
    return g.rng.choice(ways)


def transformed(g: Drawn, i: int) -> Step:
    """A filter in the frequencies of one dimension."""
    x, d = g.pool[i], g.axis(g.pool[i])
    n = x.shape[d]
    ways: list[Step] = [
        lambda p: torch.fft.rfft(p[i], dim=d).abs(),
        lambda p: torch.fft.irfft(torch.fft.rfft(p[i], n=2 * n, dim=d) * 0.5, n=2 * n, dim=d).narrow(d, 0, n),
        lambda p: torch.fft.fft(p[i], dim=d).real,
        lambda p: torch.view_as_real(torch.fft.rfft(p[i], dim=d)),
    ]
    return g.rng.choice(ways)


def written(g: Drawn, i: int) -> Step:
    """A part of a tensor replaced: what a write through a view becomes."""
    x, d = g.pool[i], g.axis(g.pool[i])
    n = x.shape[d]
    j, start, index = g.another(lambda y: y.shape == x.shape), g.rng.randrange(n), g.rng.sample(range(n), (n + 1) // 2)
    stop, step, other = g.rng.randint(start + 1, n), g.rng.choice([1, 1, 2]), i if j is None else j
    put = torch.ops.aten.index_put
    every = (*[slice(None)] * d, slice(None, None, step))

    def source(p: Pool) -> Tensor:
        return F.relu(p[other])

    ways: list[Step] = [
        lambda p: p[i].slice_scatter(source(p).narrow(d, start, stop - start)[every], d, start, stop, step),
        lambda p: p[i].select_scatter(source(p).select(d, start), d, start),
        lambda p: torch.zeros_like(p[i]).slice_scatter(source(p).narrow(d, 0, stop - start), d, start, stop),
        lambda p: p[i].index_copy(d, torch.tensor(index), source(p).narrow(d, 0, len(index))),
        lambda p: p[i].index_add(d, torch.tensor(index), source(p).narrow(d, 0, len(index))),
        lambda p: p[i].index_fill(d, torch.tensor(index), 0.0),
        lambda p: p[i].scatter(d, source(p).argsort(d), source(p)),
        lambda p: p[i].scatter_add(d, source(p).narrow(d, 0, len(index)).argsort(d), source(p)),
        lambda p: source(p).gather(d, p[i].argsort(d)),
        lambda p: torch.ops.aten.copy(p[i], source(p)),
        lambda p: put(p[i].transpose(1, d), [None, torch.tensor(index)], p[i].new_zeros(())).transpose(1, d),
        lambda p: p[i].transpose(0, d).index_put((torch.tensor(index),), p[i].new_zeros(())).transpose(0, d),
    ]
    return g.rng.choice(ways)
