"""Layers that a file spells out in several operators, put back into one.

A pattern replaces the last of its steps; the others go only if nothing else reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from whet.onnx_reader.fold import Folded, walk
from whet.onnx_reader.graph import Step
from whet.onnx_reader.values import Array, is_host


def find_patterns(folded: Folded) -> None:
    """Put the layers in `PATTERNS` back where the graph spells them out."""
    matcher = Matcher(folded)
    steps = folded.graph.body.steps
    for position in reversed(range(len(steps))):
        for pattern in PATTERNS.get(steps[position].op, ()):
            found = pattern(matcher, steps[position])
            if found is not None:
                steps[position] = found
                break


class Matcher:
    """Looks backwards from a step: who made its inputs, and which of them are constants."""

    def __init__(self, folded: Folded) -> None:
        self.folded, self.constants = folded, folded.graph.constants
        body = folded.graph.body
        self.makers = {name: step for step in body.steps for name in step.outputs if name}
        self.reads = Counter(name for step in walk(body) for name in step.inputs)
        self.reads.update(name for step in walk(body) for inner in step.bodies.values() for name in inner.outputs)
        self.outputs = set(body.outputs)

    def maker(self, name: str, *ops: str) -> Step | None:
        """Return the step that makes a value, None unless its operator is one of `ops`."""
        found = self.makers.get(name)
        return found if found is not None and found.op in ops else None

    def array(self, name: str) -> Array | None:
        """Return a constant of any shape by its name, None for what is computed of inputs."""
        value = self.constants.get(name)
        return value if is_host(value) else None

    def number(self, name: str) -> float | None:
        """Return a constant of one element."""
        value = self.array(name)
        single = value is not None and value.size == 1 and value.dtype.kind in "fiu"
        return float(value.reshape(-1)[0]) if value is not None and single else None

    def split(self, step: Step) -> tuple[str, str] | None:
        """Return (value, constant) of an operator with two inputs of which one is a float constant."""
        if len(step.inputs) != 2:
            return None
        for value, constant in (step.inputs, step.inputs[::-1]):
            known = self.array(constant)
            if known is not None and known.dtype.kind in "fV" and value not in self.constants:
                return value, constant
        return None

    def axes(self, step: Step) -> list[int] | None:
        """Return the axes of a reduction, None where they are not known or all."""
        if len(step.inputs) > 1 and step.inputs[1]:
            known = self.array(step.inputs[1])
            return None if known is None else [int(axis) for axis in known.reshape(-1)]
        return step.attributes.get("axes")

    def is_last_axis(self, step: Step) -> bool:
        """Say whether a reduction runs over the last dimension alone, and keeps it."""
        axes, rank = self.axes(step), self.folded.graph.ranks.get(step.inputs[0])
        last = axes is not None and len(axes) == 1 and (axes[0] == -1 or (rank is not None and axes[0] == rank - 1))
        return last and bool(step.attributes.get("keepdims", 1))

    def flat(self, name: str) -> str:
        """Return the name of a constant's one-dimensional copy."""
        made = f"{name}.flat"
        self.constants[made] = self.constants[name].reshape(-1)
        self.folded.origin[made] = self.folded.source(name)
        return made


# -- y = (x - mean) / sqrt(variance + epsilon) x scale + shift -----------------------------------------------------


def layer_norm(m: Matcher, step: Step) -> Step | None:
    """An Add of a shift, or a Mul with a scale, behind values that are normalised over the last dimension."""
    parts, shift = m.split(step), ""
    if parts is None:
        return None
    if step.op == "Add":
        scaled, shift = m.maker(parts[0], "Mul"), parts[1]
        parts = m.split(scaled) if scaled is not None else None
    if parts is None or not _vectors(m, parts[1], shift):
        return None
    found = _normalised(m, parts[0])
    if found is None:
        return None
    inputs = [found[0], parts[1], *([shift] if shift else [])]
    attributes = {"axis": -1, "epsilon": found[1]}
    return Step("LayerNormalization", step.name, inputs, step.outputs, attributes, 17, scope=step.scope)


def _vectors(m: Matcher, scale: str, shift: str) -> bool:
    first, second = m.array(scale), m.array(shift) if shift else None
    return first is not None and first.ndim == 1 and (second is None or second.shape == first.shape)


def _normalised(m: Matcher, name: str) -> tuple[str, float] | None:
    """Return what is normalised, and epsilon, where `name` is (x - mean) / sqrt(mean((x - mean)^2) + epsilon)."""
    quotient = m.maker(name, "Div", "Mul")
    if quotient is None or len(quotient.inputs) != 2:
        return None
    sides = [quotient.inputs] if quotient.op == "Div" else [quotient.inputs, quotient.inputs[::-1]]
    for centred, below in sides:
        inverse = m.maker(below, "Reciprocal") if quotient.op == "Mul" else None
        if quotient.op == "Mul" and inverse is None:
            continue
        root = m.maker(inverse.inputs[0] if inverse is not None else below, "Sqrt")
        found = _deviation(m, root) if root is not None else None
        if found is not None and _centre(m, centred) == found[0]:
            return found
    return None


def _deviation(m: Matcher, root: Step) -> tuple[str, float] | None:
    """Return x and epsilon where the root is of mean((x - mean)^2) + epsilon."""
    total = m.maker(root.inputs[0], "Add")
    for variance, small in (total.inputs, total.inputs[::-1]) if total is not None and len(total.inputs) == 2 else ():
        mean, epsilon = m.maker(variance, "ReduceMean"), m.number(small)
        if mean is None or epsilon is None or not m.is_last_axis(mean):
            continue
        square = m.maker(mean.inputs[0], "Pow", "Mul")
        if square is None or len(square.inputs) != 2:
            continue
        twice = square.inputs[0] == square.inputs[1] if square.op == "Mul" else m.number(square.inputs[1]) == 2.0
        source = _centre(m, square.inputs[0]) if twice else None
        if source is not None:
            return source, epsilon
    return None


def _centre(m: Matcher, name: str) -> str | None:
    """Return x where `name` is x - mean(x) over the last dimension."""
    step = m.maker(name, "Sub")
    mean = m.maker(step.inputs[1], "ReduceMean") if step is not None and len(step.inputs) == 2 else None
    if step is None or mean is None or mean.inputs[0] != step.inputs[0] or not m.is_last_axis(mean):
        return None
    return step.inputs[0]


# -- groups of channels, normalised as instances -------------------------------------------------------------------


def group_norm(m: Matcher, step: Step) -> Step | None:
    """Channels reshaped to groups, an instance norm without scale, the shape put back, then a scale and a shift."""
    parts = m.split(step)
    scaled = m.maker(parts[0], "Mul") if parts is not None else None
    inner = m.split(scaled) if scaled is not None else None
    back = m.maker(inner[0], "Reshape") if inner is not None else None
    if parts is None or inner is None or back is None:
        return None
    norm = m.maker(back.inputs[0], "InstanceNormalization")
    groups = m.maker(norm.inputs[0], "Reshape") if norm is not None and len(norm.inputs) == 3 else None
    scale, shift = m.array(inner[1]), m.array(parts[1])
    if norm is None or groups is None or scale is None or shift is None or len(groups.inputs) < 2:
        return None
    shape, channels = m.array(groups.inputs[1]), scale.shape[0] if scale.ndim > 1 else 0
    fits = scale.shape == shift.shape and scale.size == channels and shape is not None and shape.size == 3
    plain = _all(m, norm.inputs[1], 1.0) and _all(m, norm.inputs[2], 0.0)
    if not fits or not plain or shape is None or shape[2] != -1 or shape[1] < 1 or channels % shape[1]:
        return None
    if not _restores(m, back, groups.inputs[0], channels):
        return None
    inputs = [groups.inputs[0], m.flat(inner[1]), m.flat(parts[1])]
    attributes = {"num_groups": int(shape[1]), "epsilon": norm.attributes.get("epsilon", 1e-5)}
    return Step("GroupNormalization", step.name, inputs, step.outputs, attributes, 21, scope=step.scope)


def _all(m: Matcher, name: str, number: float) -> bool:
    value = m.array(name)
    return value is not None and bool((value == number).all())


def _restores(m: Matcher, back: Step, source: str, channels: int) -> bool:
    """Say whether a Reshape gives a tensor the shape of `source`."""
    shape = m.maker(back.inputs[1], "Shape") if len(back.inputs) > 1 else None
    if shape is not None:
        return shape.inputs[0] == source and not shape.attributes.get("start") and "end" not in shape.attributes
    known = m.array(back.inputs[1]) if len(back.inputs) > 1 else None
    return known is not None and known.size > 2 and int(known.reshape(-1)[1]) == channels


# -- a bias behind a product ---------------------------------------------------------------------------------------


def linear(m: Matcher, step: Step) -> Step | None:
    """An Add of a vector behind a product with a constant matrix, which nothing else reads."""
    parts = m.split(step)
    product = m.maker(parts[0], "MatMul") if parts is not None else None
    if parts is None or product is None or len(product.inputs) != 2:
        return None
    matrix, bias = m.array(product.inputs[1]), m.array(parts[1])
    if matrix is None or bias is None or matrix.ndim != 2 or bias.shape != matrix.shape[1:]:
        return None
    if m.reads[parts[0]] != 1 or parts[0] in m.outputs:
        return None
    scope = product.scope or step.scope
    return Step("MatMul", product.name, [*product.inputs, parts[1]], step.outputs, {}, product.opset, scope=scope)


Pattern = Callable[[Matcher, Step], Any]

PATTERNS: dict[str, tuple[Pattern, ...]] = {
    "Add": (layer_norm, group_norm, linear),
    "Mul": (layer_norm,),
}
"""Patterns by the operator that ends them."""
