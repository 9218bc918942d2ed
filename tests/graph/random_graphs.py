"""Networks drawn from a seed: the operator table put together at random, dimensions of one element everywhere.

A network is a list of steps. A step reads tensors of a growing pool and adds its result; dimension 0 is the batch and
never touched. What no step has read at the end goes through a linear layer each into one sum of three outputs. Steps
of `EXACT` keep zeros zero, so that on networks of these alone a cut equals the network with the same slices of its
parameters set to zero, which no label decides. `Drawn(seed)` is made of these alone where the seed is even, and
`zeros_stay` where none of them turned out otherwise (a sum with a stretched tensor, copies that are counted).
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from random_steps import EXACT, INEXACT, Pool, Step, convolution, linear
from torch import Tensor, nn

LARGEST = 3000
"""The most elements of a tensor."""


class Drawn(nn.Module):
    """The network of a seed, with `example` inputs of batch two."""

    def __init__(self, seed: int, steps: int = 9) -> None:
        super().__init__()
        self.seed = seed
        self.exact = self.zeros_stay = seed % 2 == 0
        self.rng, self.layers, self.steps = random.Random(seed), nn.ModuleList(), []
        self.numbers, self.read, self.names = nn.ParameterList(), set[int](), []
        torch.manual_seed(seed)
        self.pool: Pool = [torch.randn(self.rng.choice([(2, 3, 6, 6), (2, 5, 6), (2, 4, 8), (2, 6)]))]
        self.example = (self.pool[0],)
        kinds = EXACT if self.exact else {**EXACT, **INEXACT}
        enter = convolution if self.pool[0].ndim == 4 else linear
        self.take(enter, 0, wide=True)
        for _ in range(60):
            if len(self.steps) < steps:
                recent = max(1, len(self.pool) - 3)
                self.take(kinds[self.rng.choice(list(kinds))], self.rng.randrange(recent, len(self.pool)))
        self.heads = [(i, self.head(self.pool[i])) for i in range(1, len(self.pool)) if i not in self.read]
        self.shapes = [tuple(x.shape) for x in self.pool]
        del self.pool

    def __deepcopy__(self, memo: dict[int, object]) -> Drawn:
        """The network of the same seed: steps hold their layers, and copied functions would hold the old ones."""
        return Drawn(self.seed).train(self.training)

    def take(self, kind: Callable[..., Step | None], i: int, **more: bool) -> None:
        """Draw a step of one kind on tensor i, if there is one for its shape whose result has a fit size."""
        read = set(self.read)
        with torch.no_grad():
            step = kind(self, i, **more)
            out = None if step is None else step(self.pool)
        if out is None or not 2 <= out.ndim <= 5 or not 0 < out.numel() <= LARGEST or not out.abs().max() < 100:
            self.read = read
            return
        self.read.add(i)
        self.steps.append(step)
        self.pool.append(out)
        self.names.append(kind.__name__)

    def head(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return how a tensor becomes three outputs."""
        if self.rng.random() < 0.5:
            flat = self.layer(nn.Linear(x[0].numel(), 3))
            return lambda x: flat(x.flatten(1))
        last = self.layer(nn.Linear(x.shape[-1], 3))
        return lambda x: last(x if x.ndim == 2 else x.sum(list(range(1, x.ndim - 1))))

    def forward(self, x: Tensor) -> Tensor:
        pool = [x]
        for step in self.steps:
            pool.append(step(pool))
        return torch.stack([head(pool[i]) for i, head in self.heads]).sum(0)

    # -- what kinds of steps draw with --

    def layer(self, module: nn.Module) -> nn.Module:
        """Keep a layer; none of its numbers stays at zero or one, or where zeros are to stay zeros, all biases zero."""
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if self.exact and ("bias" in name or name == "running_mean"):
                tensor.data.zero_()
            elif tensor.is_floating_point():
                tensor.data += 0.3 * torch.rand(tensor.shape)
        self.layers.append(module.eval())
        return module

    def number(self, *shape: int) -> Callable[[], Tensor]:
        """Return how to read a new parameter; a tensor that a step holds itself would be exported as a constant."""
        self.numbers.append(nn.Parameter(torch.randn(shape)))
        position = len(self.numbers) - 1
        return lambda: self.numbers[position]

    def axis(self, x: Tensor) -> int:
        return self.rng.randrange(1, x.ndim)

    def divisor(self, n: int) -> int:
        return self.rng.choice([d for d in range(1, n + 1) if n % d == 0])

    def another(self, fits: Callable[[Tensor], bool]) -> int | None:
        """Return a tensor of the pool that fits, and count it as read."""
        found = [i for i, x in enumerate(self.pool) if i and fits(x)]
        if not found:
            return None
        self.read.add(i := self.rng.choice(found))
        return i
