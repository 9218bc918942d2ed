"""`Supernet`: all sub-networks of a net, cut from one set of parameters, with no code for any architecture."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from whet.core.errors import SpecError
from whet.core.net import Net
from whet.core.passes import Pass
from whet.core.run import Run
from whet.core.space import Decision, Space, Value
from whet.decisions.enumerate import draw
from whet.elastic.noise import with_noise
from whet.elastic.rounding import Rounding

DIGIT = 4096
"""Positions are carried through the passes as two numbers to this base, each exact in f32."""
CACHED = 256


@dataclass(frozen=True)
class SubNetwork:
    """One sub-network: its code, and for each of its tensors what it takes of the supernet's tensor of that name.

    `taken[name]` lists (dimension, indices) of the dimensions that are not whole.
    """

    net: Net
    taken: dict[str, list[tuple[int, Tensor]]]


class Supernet(nn.Module):
    """The net whose every decision of `passes` is a sub-network that shares its parameters.

    A sub-network's tensor is a selection from the supernet's tensor of the same name,

        theta_sub = theta[indices of dimension 0, indices of dimension 1, ...],

    so gradients reach the shared parameters, training a small sub-network costs what the small network costs, and
    extracting one is a copy. The indices come from applying `passes` to a net whose tensors hold each element's own
    position: whatever a pass cuts or drops, it cuts from those. `passes` must therefore select by something other
    than weights (`Width(importance=Frozen(...))`), and may not compute new ones. `net` is what a decision without
    choices gives; it is copied.

    As a module it runs the sub-network `active`; in training it takes the next of `schedule`, a function of the step
    (the sandwich rule by default: the largest, the smallest, then two at random), so `fit` trains it as it is; with
    `noise_bits` under the noise that rounding its weights to so many bits would bring, with `rounding` as quantized,
    in evaluation too.

    Papers: Cai et al. 2020, Once-for-All; Yu and Huang 2019, Universally Slimmable Networks (sandwich rule).
    """

    step: Tensor

    def __init__(
        self, net: Net, passes: Pass, run: Run, *, space: Space | None = None,
        schedule: Callable[[int], Decision] | None = None, seed: int = 0, noise_bits: int | None = None,
        rounding: Rounding | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.whole = net.copy()
        self.module = self.whole.module
        self.passes, self.run = passes, run
        self.space = space if space is not None else passes.space(net, run.target)
        self.schedule = schedule or sandwich(self.space, seed)
        self.active, self.noise_bits, self.rounding = Decision(), noise_bits, rounding
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self._digits = _numbered(net)
        self._cache: dict[Decision, SubNetwork] = {}

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the outputs of the active sub-network, in training those of the schedule's next one."""
        chosen = self.active
        if self.training:
            chosen = self.schedule(int(self.step))
            self.step += 1
        sub = self.sub(chosen)
        sub.net.module.train(self.training)
        own = _tensors(self.whole)
        tensors = {name: _selected(own[name], taken) for name, taken in sub.taken.items()}
        if self.training and self.noise_bits is not None:
            weights = {name for name, _ in sub.net.module.named_parameters() if tensors[name].dim() > 1}
            tensors |= {name: with_noise(tensors[name], self.noise_bits) for name in weights}
        if self.rounding is not None:
            tensors |= self.rounding.weights(sub.net, tensors)
        with self.rounding.inputs(sub.net) if self.rounding is not None else nullcontext():
            output: Tensor = functional_call(sub.net.module, tensors, inputs, tie_weights=False)
        return output

    def sub(self, decision: Decision) -> SubNetwork:
        """Return the sub-network of a decision; the last few hundred are kept.

        Raises: SpecError if a pass made tensors that the supernet does not have.
        """
        key = self.space.canonical(Decision({n: v for n, v in decision.items() if n in self.space.choices}))
        if key not in self._cache:
            if len(self._cache) >= CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = self._cut(key)
        return self._cache[key]

    def extract(self, decision: Decision) -> Net:
        """Return the sub-network of a decision as a plain net with parameters of its own."""
        sub = self.sub(decision)
        net, own = sub.net.copy(), _tensors(self.whole)
        with torch.no_grad():
            for name, tensor in _tensors(net).items():
                if name in sub.taken:
                    tensor.copy_(_selected(own[name], sub.taken[name]))
        return net.eval()

    def _cut(self, decision: Decision) -> SubNetwork:
        parts = [self.passes.apply(digit, decision, self.run).net for digit in self._digits]
        high, low = (_tensors(part) for part in parts)
        own = _tensors(self.whole)
        buffers = [name for name, _ in parts[1].module.named_buffers() if name in high]
        constants = {name for name in buffers if torch.equal(high[name], low[name])}
        strange = sorted(name for name in high if name not in own and name not in constants)
        if strange:
            raise SpecError(f"the passes made '{strange[0]}', which the supernet does not have.")
        where = {name: high[name].detach().long() * DIGIT + low[name].detach().long() for name in high if name in own}
        return SubNetwork(parts[1], {name: _taken(name, where[name], tuple(own[name].shape)) for name in where})


def _taken(name: str, where: Tensor, shape: tuple[int, ...]) -> list[tuple[int, Tensor]]:
    """Return the indices of each dimension that give the positions `where` in a tensor of `shape`, if there are."""
    taken: list[tuple[int, Tensor]] = []
    rebuilt = torch.zeros((), dtype=torch.long)
    for dim, size in enumerate(shape):
        stride = math.prod(shape[dim + 1 :])
        line = where[tuple(slice(None) if d == dim else 0 for d in range(where.dim()))]
        indices = line // stride % size
        rebuilt = rebuilt + (indices * stride).view([-1 if d == dim else 1 for d in range(len(shape))])
        if not torch.equal(indices, torch.arange(size)):
            taken.append((dim, indices))
    if where.dim() != len(shape) or not torch.equal(rebuilt.expand_as(where), where):
        raise SpecError(f"the passes made a '{name}' that is no selection from the supernet's.")
    return taken


def _selected(tensor: Tensor, taken: Sequence[tuple[int, Tensor]]) -> Tensor:
    for dim, indices in taken:
        tensor = tensor.index_select(dim, indices)
    return tensor


def _tensors(net: Net) -> dict[str, Tensor]:
    """Return the parameters and floating-point buffers of a net by name, tied ones under each name."""
    found: dict[str, Tensor] = dict(net.module.named_parameters(remove_duplicate=False))
    buffers = net.module.named_buffers(remove_duplicate=False)
    return found | {name: b for name, b in buffers if b.is_floating_point()}


def _numbered(net: Net) -> tuple[Net, Net]:
    """Return two copies of `net` whose tensors hold the high and the low digit of each element's position."""
    copies = net.copy(), net.copy()
    high, low = (_tensors(copied) for copied in copies)
    with torch.no_grad():
        for name, tensor in _tensors(net).items():
            count = torch.arange(math.prod(tensor.shape)).view(tensor.shape)
            high[name].copy_(count // DIGIT)
            low[name].copy_(count % DIGIT)
    return copies


def sandwich(space: Space, seed: int = 0, between: int = 2) -> Callable[[int], Decision]:
    """Return the sandwich rule as a schedule: step by step the largest, the smallest, and `between` random ones.

    The identity is the largest. The smallest takes of each choice the value furthest from its identity.
    """
    smallest = Decision({c.name: _furthest(c.values, c.identity) for c in space})

    def at(step: int) -> Decision:
        phase = step % (2 + between)
        if phase == 0 or not len(space):
            return Decision()
        if phase == 1:
            return space.canonical(smallest)
        return draw(space, random.Random(seed * 1_000_003 + step), {})

    return at


def _furthest(values: Sequence[Value], identity: Value) -> Value:
    others = [v for v in values if v != identity]
    if not others:
        return identity
    numbers = [v for v in others if isinstance(v, int | float)]
    return min(numbers) if len(numbers) == len(others) else others[0]
