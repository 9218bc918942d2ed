"""What a saved file computes, in its runtime, against what it should."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import ArtifactError, TaskError
from whet.core.kinds import Kind, kinds_of, likened
from whet.core.structure import Tree, by_length, has_rows, tensors
from whet.core.target import Session
from whet.core.task import Batches, split


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


def evaluate(open_session: Callable[[int], Session], batches: Batches, batch: int) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of a file over `batches`, run `batch` samples at a time.

    `open_session(n)` loads the file for a static batch of n. The last samples of each batch are padded by repeating
    the first, and the padding's outputs dropped.
    """
    session = open_session(batch)
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    for item in batches:
        inputs, target = split(item)
        for start in range(0, len(inputs[0]), batch):
            chunk = [x[start : start + batch].contiguous().numpy() for x in inputs]
            count = len(chunk[0])
            if count < batch:
                chunk = [np.concatenate([x, np.repeat(x[:1], batch - count, axis=0)]) for x in chunk]
            outputs.append(torch.from_numpy(np.array(session(*chunk)[:count], dtype=np.float32)))
        targets.append(target)
    if not outputs:
        raise TaskError("there are no batches to evaluate on.")
    return torch.cat(outputs), torch.cat(targets)
