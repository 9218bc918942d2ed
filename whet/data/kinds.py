"""What an output means, and how far two outputs of that meaning are apart: logits, embeddings, plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from whet.core.errors import TrainingError
from whet.core.kinds import Kind
from whet.support.structure import Tree, tensors

CERTAIN = 0.5
"""Outputs of shape (rows, n) without labels are logits if the softmax gives its first choice this much on average, and
an embedding otherwise. Not measured; a task can name its kinds."""


def kinds_of(
    outputs: Tree, targets: Tree = None, loss: Callable[[Tree, Tree], Tensor] | None = None
) -> tuple[Kind, ...]:
    """Return the kind of each tensor of `outputs`, told from the values, the targets and the loss.

    Targets with as many tensors belong to the outputs one by one; otherwise they are tried on each output.
    Dimension 0 of all shapes is the batch.
    """
    several, wanted = tensors(outputs), tensors(targets)
    if len(several) == 1:
        return (kind_of(several[0], wanted[0] if wanted else None, loss if several[0] is outputs else None, targets),)
    if len(wanted) == len(several):
        return tuple(kind_of(o, t) for o, t in zip(several, wanted, strict=True))
    return tuple(kind_of(o, next((t for t in wanted if _class_axes(o, t, exact=True)), None)) for o in several)


def kind_of(
    outputs: Tensor, targets: Tensor | None = None, loss: Callable[[Any, Any], Tensor] | None = None, given: Tree = None
) -> Kind:
    """Return the kind of one output.

    Logits: targets are integers whose shape is the output's without one axis, which is the class axis; where several
    axes fit, it is the one along which a constant, another for each row, changes nothing about the `loss`, as is so of
    any softmax. `given` is what the loss takes as targets, if that is more than the tensor `targets`.

    >>> kind_of(torch.randn(4, 5, 8, 8), torch.zeros(4, 8, 8).long())
    Kind(name='logits', class_axis=1)
    >>> kind_of(torch.randn(4, 1), torch.randn(4, 1))
    Kind(name='regression', class_axis=None)
    """
    if not outputs.is_floating_point():
        return Kind("integers")
    values = outputs.detach().float()
    found = _class_axes(values, targets) if targets is not None else []
    if not found and (targets is None or not _fits(values, targets)):
        return _by_values(values)
    if not found:
        return Kind("regression")
    free = [a for a in found if loss is not None and _shift_free(values, targets if given is None else given, loss, a)]
    axis = (free or found)[0]
    if not free and _normal(values):
        return Kind("embedding")
    return Kind("probabilities" if _probable(values, axis) else "logits", axis)


def predictions(outputs: Tree, kinds: Sequence[Kind]) -> int:
    """Return how many predictions a sample has that say something of their own, at most over several outputs.

    Those of a sequence all count; of a picture as many as one side has, for neighbours are alike. Dimension 0 of all
    shapes is the batch.

    >>> predictions(torch.zeros(2, 128, 65), [Kind("logits", 2)]), predictions(torch.zeros(2, 10), [Kind("logits", 1)])
    (128, 1)
    >>> predictions(torch.zeros(2, 9, 64, 48), [Kind("logits", 1)]), predictions(torch.zeros(2, 3), [Kind("embedding")])
    (64, 1)
    """
    most = 1
    for each, kind in zip(tensors(outputs), kinds, strict=True):
        values = (-1 if each.dim() < 4 else 1) if kind.class_axis is None else kind.class_axis
        sizes = [size for axis, size in enumerate(each.shape) if axis not in (0, values % max(each.dim(), 1))]
        most = max([most, *sizes])
    return most


def _class_axes(outputs: Tensor, targets: Tensor, exact: bool = False) -> list[int]:
    """Return the axes that targets could count classes along, the likelier first; `exact` asks for the output's shape.

    Otherwise targets may also be flattened, or be transcripts, which are shorter than the outputs.
    """
    shape, axes = tuple(outputs.shape), [a for a in range(1, outputs.dim()) if outputs.shape[a] > 1]
    axes = axes if outputs.dim() > 3 else axes[::-1]  # pictures have their classes in axis 1, sequences in the last
    if targets.is_floating_point():
        soft = tuple(targets.shape) == shape and bool((targets >= 0).all())
        return [a for a in axes if soft and _probable(targets, a)]
    if targets.dtype == torch.bool or not targets.numel():
        return []
    least, most = int(targets.min()), int(targets.max())
    found = [a for a in axes if tuple(targets.shape) in (shape[:a] + shape[a + 1 :], (*shape[:a], 1, *shape[a + 1 :]))]
    last = outputs.dim() - 1
    if not found and not exact and outputs.dim() > 1 and shape[last] > 1 and tuple(targets.shape) != shape:
        flattened = targets.numel() * shape[last] == outputs.numel()
        sequences = targets.dim() == 2 and outputs.dim() == 3 and len(targets) == len(outputs)
        found = [last] if flattened or (sequences and targets.shape[1] < shape[1]) else []
    return [a for a in found if most < shape[a] or least == most]


def _fits(outputs: Tensor, targets: Tensor) -> bool:
    """Say whether targets are what the outputs should be: of their shape, but for axes of length one."""
    return [n for n in outputs.shape if n > 1] == [n for n in targets.shape if n > 1]


def _by_values(outputs: Tensor) -> Kind:
    """Return the kind of an output that no targets tell of."""
    for axis in range(1, outputs.dim()):
        if outputs.shape[axis] > 1 and _probable(outputs, axis):
            return Kind("probabilities", axis)
    if outputs.dim() != 2 or outputs.shape[1] == 1:
        return Kind("regression")
    if _normal(outputs):
        return Kind("embedding")
    certain = float(outputs.softmax(1).amax(1).mean()) >= CERTAIN
    return Kind("logits", 1) if certain else Kind("embedding")


def _probable(values: Tensor, axis: int) -> bool:
    total = values.float().sum(axis)
    return bool((values >= 0).all()) and torch.allclose(total, torch.ones_like(total), atol=1e-3)


def _normal(values: Tensor) -> bool:
    """Say whether each row has length one."""
    length = values.norm(dim=-1)
    return values.dim() > 1 and values.shape[-1] > 2 and torch.allclose(length, torch.ones_like(length), atol=1e-3)


def _shift_free(outputs: Tensor, targets: Tree, loss: Callable[[Any, Any], Tensor], axis: int) -> bool:
    """Say whether a loss stays the same if a constant is added along an axis, another at each other place."""
    generator = torch.Generator().manual_seed(0)
    shift = torch.randn(outputs.select(axis, 0).shape, generator=generator).unsqueeze(axis)
    with torch.no_grad():
        before, after = float(loss(outputs, targets)), float(loss(outputs + shift, targets))
    return math.isclose(before, after, rel_tol=1e-3, abs_tol=1e-5)


PLAIN = Kind("regression")


# -- distances -----------------------------------------------------------------------------------------------------


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0, kind: Kind = PLAIN) -> Tensor:
    """Return `T^2 KL(softmax(teacher / T) || softmax(student / T))` over the class axis, the mean of all other places.

    Hinton et al. 2015. Probabilities are taken as the softmax of their logarithms.

    Student and teacher have one shape; a scalar.
    """
    axis = -1 if kind.class_axis is None else kind.class_axis
    if student.dim() < 2 or student.shape[axis] < 2:
        raise TrainingError(
            f"the distance kl compares shares of classes, and outputs of shape {tuple(student.shape)} have less than "
            f"two in axis {axis}; choose Recipe(distance='mse'), or class_axis=... where the classes are."
        )
    rows = [x.float().movedim(axis, -1).flatten(0, -2) for x in (student, teacher)]
    if kind.name == "probabilities":
        rows = [r.clamp_min(1e-7).log() for r in rows]
    log_p, log_q = (functional.log_softmax(r / temperature, -1) for r in rows)
    return functional.kl_div(log_p, log_q, log_target=True, reduction="batchmean") * temperature**2


def squared(student: Tensor, teacher: Tensor, temperature: float = 1.0, kind: Kind = PLAIN) -> Tensor:
    """Return the mean squared difference. Both of one shape; a scalar."""
    return functional.mse_loss(student.float(), teacher.float())


def relative(student: Tensor, teacher: Tensor, temperature: float = 1.0, kind: Kind = PLAIN) -> Tensor:
    """Return the mean squared difference over the teacher's variance, so that no unit counts.

    Both of one shape; a scalar.
    """
    wanted = teacher.float()
    spread = torch.maximum(wanted.var(correction=0), 1e-6 * wanted.square().mean())
    return functional.mse_loss(student.float(), wanted) / spread.clamp_min(1e-12)


def angle(student: Tensor, teacher: Tensor, temperature: float = 1.0, kind: Kind = PLAIN) -> Tensor:
    """Return one minus the cosine between the rows, over the last axis. Shapes (..., features); a scalar."""
    return (1 - functional.cosine_similarity(student.float(), teacher.float(), dim=-1)).mean()


DISTANCES: dict[str, Callable[..., Tensor]] = {
    "kl": divergence,
    "mse": squared,
    "cosine": angle,
    "relative": relative,
}
OF_KIND = {"logits": "kl", "probabilities": "kl", "embedding": "cosine", "regression": "mse"}
"""The distance that follows the kind of an output; integers have none. Among several outputs plain numbers are compared
relatively, so that no unit outweighs another."""


def chosen(distance: str, kinds: Sequence[Kind]) -> tuple[str | None, ...]:
    """Return the distance of each output: the one named, or by `auto` what follows its kind; None for integers.

    >>> chosen("auto", (Kind("logits", 1), Kind("regression"), Kind("integers")))
    ('kl', 'relative', None)
    """
    table = OF_KIND if len(kinds) == 1 else OF_KIND | {"regression": "relative"}
    return tuple(None if k.name == "integers" else table[k.name] if distance == "auto" else distance for k in kinds)


def apart(
    student: Tree, teacher: Tree, kinds: Sequence[Kind], distance: str = "auto", temperature: float = 1.0
) -> Tensor:
    """Return the mean distance of two trees of outputs, each output by what follows its kind, or by `distance`.

    A scalar.
    """
    pairs = zip(tensors(student), tensors(teacher), kinds, chosen(distance, kinds), strict=True)
    found = [DISTANCES[how](s, t, temperature, kind) for s, t, kind, how in pairs if how is not None]
    return torch.stack(found).mean() if found else torch.zeros(())


def saliency(outputs: Tree, kinds: Sequence[Kind]) -> Tensor:
    """Return what stands for a loss without labels where a gradient must say what the outputs depend on.

    The cross-entropy to the own first choice for logits, half the mean square for all else, the mean over outputs.

    A scalar.
    """
    found: list[Tensor] = []
    for value, kind in zip(tensors(outputs), kinds, strict=True):
        if kind.name in ("logits", "probabilities"):
            rows = value.float().movedim(-1 if kind.class_axis is None else kind.class_axis, -1).flatten(0, -2)
            rows = rows.clamp_min(1e-7).log() if kind.name == "probabilities" else rows
            found.append(functional.cross_entropy(rows, rows.argmax(-1)))
        elif kind.name != "integers":
            found.append(value.float().square().mean() / 2)
    return torch.stack(found).mean() if found else torch.zeros(())


# -- agreement -----------------------------------------------------------------------------------------------------


def same_choice(outputs: Tensor, reference: Tensor, kind: Kind) -> float:
    """Return the share of rows, or places, with the same largest entry over the class axis.

    Both of one shape, one of whose axes is the classes.
    """
    axis = -1 if kind.class_axis is None else kind.class_axis
    return float((outputs.argmax(axis) == reference.argmax(axis)).float().mean())


def cosine(outputs: Tensor, reference: Tensor, kind: Kind) -> float:
    """Return the mean cosine between the rows of both. Shapes (..., features)."""
    return float(functional.cosine_similarity(outputs.float(), reference.float(), dim=-1).mean())


def relative_error(outputs: Tensor, reference: Tensor, kind: Kind) -> float:
    """Return `|a - b| / |b|` in the Euclidean norm over all rows. Both of one shape."""
    apart_by, norm = float((outputs.float() - reference.float()).norm()), float(reference.float().norm())
    return apart_by / norm if norm > 0 else float(apart_by > 0)


def same_integer(outputs: Tensor, reference: Tensor, kind: Kind) -> float:
    """Return the share of equal integers. Both of one shape."""
    return float((outputs == reference).float().mean())


LIKENESS: dict[str, tuple[str, Callable[[Tensor, Tensor, Kind], float], str]] = {
    "logits": ("top1_agreement", same_choice, "max"),
    "probabilities": ("top1_agreement", same_choice, "max"),
    "embedding": ("cosine_similarity", cosine, "max"),
    "regression": ("relative_error", relative_error, "min"),
    "integers": ("equal_share", same_integer, "max"),
}
"""By kind: what agreement with a reference is called, how it is computed, and which direction is better."""


def likened(kind: Kind, outputs: Tensor, reference: Tensor) -> dict[str, float]:
    """Return all figures of agreement that suit a kind, by name.

    >>> likened(Kind("regression"), torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [2.0]])).keys()
    dict_keys(['relative_error', 'correlation'])
    """
    name, compute, _ = LIKENESS[kind.name]
    figures = {name: compute(outputs, reference, kind)}
    if kind.name == "regression":
        figures["correlation"] = correlation(outputs, reference)
    return figures


def correlation(outputs: Tensor, reference: Tensor) -> float:
    """Return Pearson's correlation over all values; of constants, 1 where both are equal, otherwise 0.

    Both of one shape.
    """
    a, b = (x.double().flatten() - x.double().mean() for x in (outputs, reference))
    spread = float(a.norm() * b.norm())
    return float(a @ b) / spread if spread > 0 else float(torch.equal(outputs, reference))


def likenesses(outputs: Tree, reference: Tree, kinds: Sequence[Kind]) -> list[tuple[str, float, str]]:
    """Return name, value and direction of the agreement of each output with its reference."""
    pairs = zip(tensors(outputs), tensors(reference), kinds, strict=True)
    rows = [(LIKENESS[kind.name], a, b, kind) for a, b, kind in pairs]
    return [(name, compute(a, b, kind), direction) for (name, compute, direction), a, b, kind in rows]


def likeness(outputs: Tree, reference: Tree, kinds: Sequence[Kind]) -> tuple[str, float, str]:
    """Return one figure of agreement: that of the one output, or of several the worst, an error e counting as 1 - e.

    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> likeness(x, x.flip(0), (Kind("logits", 1),))
    ('top1_agreement', 0.0, 'max')
    """
    found = likenesses(outputs, reference, kinds)
    if len(found) == 1:
        return found[0]
    return "agreement", min(value if direction == "max" else 1 - value for _, value, direction in found), "max"
