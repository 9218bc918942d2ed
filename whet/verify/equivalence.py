"""What a saved file computes, in its runtime, against what it should."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import ArtifactError, TaskError
from whet.core.kinds import Kind
from whet.core.net import Net
from whet.core.target import Session
from whet.core.task import Batches, Task, split
from whet.data.kinds import kinds_of, likened
from whet.data.rows import by_length, has_rows
from whet.support import structure
from whet.support.structure import Tree, tensors


@dataclass(frozen=True)
class Agreement:
    """How two sets of outputs agree.

    `figures` holds what each output's kind is compared by: `top1_agreement` for logits, `cosine_similarity` for
    embeddings, `relative_error` and `correlation` for other numbers; with several outputs as `name.figure`.
    `relative_difference` is `|a - b| / |b|` in the Euclidean norm over all outputs.
    """

    figures: dict[str, float]
    max_abs_difference: float
    mean_abs_difference: float
    relative_difference: float

    @property
    def top1_agreement(self) -> float | None:
        """The share of rows with the same first choice, None where the outputs are no logits."""
        return self.figures.get("top1_agreement")


def agreement(outputs: Tree, reference: Tree, kinds: Sequence[Kind] = (), names: Sequence[str] = ()) -> Agreement:
    """Compare `outputs` with `reference`, of the same structure and shapes.

    `kinds` say what each output means (a bound task's), by default told from the reference alone; `names` what each is
    called.

    >>> agreement(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 2.0]])).max_abs_difference
    1.0
    """
    groups = by_length(outputs, reference) if has_rows(reference) else [(outputs, reference)]
    pairs = [list(zip(tensors(a), tensors(b), strict=False)) for a, b in groups]
    for (a, b), each in zip(groups, pairs, strict=True):
        shapes = [[tuple(t.shape) for t in tensors(tree)] for tree in (a, b)]
        if shapes[0] != shapes[1]:
            got, wanted = (", ".join(map(str, s)) for s in shapes)
            raise ArtifactError(f"outputs have shape {got}; expected {wanted}.")
        if not each:
            raise ArtifactError("there are no outputs to compare.")
    kinds = tuple(kinds) or kinds_of(groups[0][1])
    called = list(names) if len(names) == len(kinds) else [str(i) for i in range(len(kinds))]
    figures: dict[str, float] = {}
    for index, kind in enumerate(kinds):
        found = [(likened(kind, *each[index]), each[index][0].numel()) for each in pairs]
        total = sum(count for _, count in found)
        for name in found[0][0]:
            key = name if len(kinds) == 1 else f"{called[index]}.{name}"
            figures[key] = sum(figure[name] * count for figure, count in found) / max(total, 1)
    return Agreement(figures, *_differences([pair for each in pairs for pair in each]))


def _differences(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, float, float]:
    """Return the largest and the mean absolute difference, and the relative one, over all pairs."""
    apart = torch.cat([(a.double() - b.double()).flatten() for a, b in pairs])
    norm = float(torch.cat([b.double().flatten() for _, b in pairs]).norm())
    relative = float(apart.norm()) / norm if norm > 0 else float(apart.abs().max() > 0)
    return float(apart.abs().max()), float(apart.abs().mean()), relative


OpenSession = Callable[[int, Mapping[str, Sequence[int]]], Session]
MOST_OPEN = 4
"""How many lengths of a batch are kept open at a time."""


def played(task: Task, open_session: OpenSession, collection: str, batch: int, net: Net) -> Tensor:
    """Return what a net's file gains in each of the episodes of a task that is played, (episodes,).

    Its outputs are `evaluate`'s, `batch` rows at a time; a session stays open for all episodes.
    """
    assert task.played is not None
    opened = kept_open(open_session)

    def run(*inputs: Tensor) -> Tree:
        return evaluate(opened, [(inputs, torch.zeros(len(inputs[0])))], batch, net)[0]

    return task.played(run, collection)


def kept_open(open_session: OpenSession) -> OpenSession:
    """Return what opens a session of given shapes once: for who calls `evaluate` again and again with little data."""
    opened: dict[tuple[Any, ...], Session] = {}

    def open_once(samples: int, shapes: Mapping[str, Sequence[int]]) -> Session:
        key = (samples, *((name, *shape) for name, shape in shapes.items()))
        if key not in opened:
            opened[key] = open_session(samples, shapes)
        return opened[key]

    return open_once


def evaluate(open_session: OpenSession, batches: Batches, batch: int, net: Net) -> tuple[Tree, Tree]:
    """Return outputs and targets of a net's file over the batches of a bound task, run `batch` samples at a time.

    `open_session(n, shapes)` loads the file for a static batch of n and inputs of those shapes, by name; it is asked
    again where the lengths of a batch are others than before. The last samples of each batch are padded by repeating
    the first, and the padding's outputs dropped. Outputs come in the net's structure, batch first.
    """
    opened: dict[tuple[Any, ...], Session] = {}
    outputs: list[Tree] = []
    targets: list[Tree] = []
    for item in batches:
        inputs, target = split(item)
        for start in range(0, len(inputs[0]), batch):
            chunk = [x[start : start + batch] for x in inputs]
            count = len(chunk[0])
            padded = [torch.cat([x, x[:1].expand(batch - count, *x.shape[1:])]) if count < batch else x for x in chunk]
            arrays = [p.outside(x).contiguous().numpy() for p, x in zip(net.inputs, padded, strict=True)]
            key = tuple(array.shape for array in arrays)
            if key not in opened:
                if len(opened) == MOST_OPEN:
                    del opened[next(iter(opened))]
                opened[key] = open_session(batch, {p.name: array.shape for p, array in zip(net.inputs, arrays)})
            outputs.append(_inside(opened[key](*arrays), net, batch, count))
        targets.append(target)
    if not outputs:
        raise TaskError("there are no batches to evaluate on.")
    return structure.joined(outputs), structure.joined(targets)


def _inside(found: Any, net: Net, rows: int, count: int) -> Tree:
    """Return a session's outputs as the net gives them, the first `count` rows; floats as f32."""
    arrays = found if isinstance(found, tuple) else (found,)
    values = [torch.from_numpy(np.array(array)) for array in arrays]
    values = [port.inside(x, rows)[:count] for port, x in zip(net.outputs, values, strict=True)]
    return net.structured(tuple(x.float() if x.is_floating_point() else x for x in values))
