"""Multi-architectural sampling: several sub-networks in one forward and backward pass, each on a part of the batch."""

from __future__ import annotations

import random
from collections.abc import Callable

from torch import Tensor, nn

from whet.core.errors import SpecError
from whet.core.space import Choice, Decision, Space, Value
from whet.core.task import rows_of
from whet.elastic.supernet import Supernet
from whet.support.structure import Tree, joined


def multi_sampling(space: Space, seed: int = 0, parts: int = 4, warm_up: int = 0) -> Callable[[int], Decision]:
    """Return a schedule in which each choice takes its values equally often over the `parts` steps of a pass.

        value of choice c at step s = shuffle_{c, pass}(its values, repeated)[s mod parts],    pass = floor(s / parts)

    Each value occurs `parts / values` times in a pass, rounded either way, and choices are shuffled independently of
    each other, so that the parts are as different as draws can be. Over the first `warm_up` passes the values come in
    one by one, the identity first and those furthest from it last.

    >>> at = multi_sampling(Space([Choice("a:width", (0.5, 1.0), 1.0), Choice("b:width", (0.5, 1.0), 1.0)]))
    >>> [sum("a:width" in at(step) for step in range(4 * turn, 4 * turn + 4)) for turn in range(3)]
    [2, 2, 2]

    Raises: SpecError for fewer than one part.

    Paper: Liao, Karaman and Sze 2021, Searching for Efficient Multi-Stage Vision Transformers, whose values come
    in over epochs; passes are counted here, because a schedule knows its step alone.
    """
    _check(parts)
    outwards = {c.name: _outwards(c) for c in space}

    def at(step: int) -> Decision:
        turn, part = divmod(step, parts)
        generator = random.Random(seed * 1_000_003 + turn)
        values: dict[str, Value] = {}
        for name, every in outwards.items():
            allowed = every[: 1 + turn * (len(every) - 1) // warm_up] if turn < warm_up else every
            dealt = allowed * (parts // len(allowed)) + generator.sample(allowed, parts % len(allowed))
            generator.shuffle(dealt)
            values[name] = dealt[part]
        return space.canonical(Decision(values))

    return at


class MultiSampled(nn.Module):
    """A supernet that, in training, runs each part of a batch through the sub-network of its schedule's next step.

        gradient = sum_p d/dtheta  loss(sub-network_p(inputs_p), targets_p)

    for a loss that sums over samples, and with the weights `samples_p / samples` for one that averages: one update from
    several sub-networks, at the cost of each sample going through one of them. A pass takes `parts` steps of the
    schedule, whatever the batch; the supernet's own module runs unchanged otherwise, and `fit` trains this one as it
    is. `Supernet(..., schedule=multi_sampling(space, seed, parts))` makes the paper's parts; with `sandwich` a pass is
    one sandwich, whose largest and smallest sub-networks see a part of the batch each.

    Shapes: inputs (N, ...), cut into parts of `N / parts` samples, rounded either way; outputs in the order of inputs.
    A batch of fewer samples than parts is cut into single samples. Raises: SpecError for fewer than one part.

    Paper: Liao, Karaman and Sze 2021, which masks the channels of the whole network, so that a small sub-network
    costs what the whole one costs, and deals samples out one by one where parts here are runs of the batch. Batch
    norms, which its transformers do not have, see one part at a time; re-estimate them after the training.
    """

    def __init__(self, supernet: Supernet, parts: int = 4) -> None:
        _check(parts)
        super().__init__()
        self.supernet, self.parts = supernet, parts

    def forward(self, *inputs: Tensor) -> Tree:
        """Return the outputs of all rows: those of each part come from the sub-network of its own step."""
        if not self.training:
            return self.supernet(*inputs)
        count = min(self.parts, rows_of(inputs))
        pieces = zip(*(x.tensor_split(count) for x in inputs), strict=True)
        outputs = [self.supernet(*piece) for piece in pieces]
        self.supernet.step += self.parts - count
        return joined(outputs)


def _check(parts: int) -> None:
    if parts < 1:
        raise SpecError(f"a batch is cut into at least 1 part; got {parts}.")


def _outwards(choice: Choice) -> list[Value]:
    """Return the values of a choice, the identity first, those furthest from it in the choice's order last."""
    identity = choice.values.index(choice.identity)
    order = sorted(range(len(choice.values)), key=lambda position: abs(position - identity))
    return [choice.values[position] for position in order]
