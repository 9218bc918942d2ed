"""Folding: what depends on no input is computed once, on the host, when the file is read."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np

from whet.core.errors import LiftError
from whet.onnx_reader.graph import Body, Graph, Step
from whet.onnx_reader.operators import REFUSED, TABLE
from whet.onnx_reader.run import Runner
from whet.onnx_reader.values import Array, NotRead, Value, is_host

LARGE = 1 << 22
"""A constant of more elements is not folded where it would grow: its recipe is smaller."""

PASSES_NAME = (
    "Identity", "Cast", "CastLike", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "DequantizeLinear",
    "QuantizeLinear",
)  # fmt: skip
"""Operators whose constant result goes by the name of its first input."""


@dataclass(frozen=True)
class Quantization:
    """How a file stores or rounds a tensor: value = (integer - zero_point) x scale.

    Of the shape of `scale`: one number for all, one a slice of `axis`, or one for every `block` elements along it.
    `dtype` is the integers' type, `int4` and `uint4` among them.
    """

    dtype: str
    scale: Array
    zero_point: Array
    axis: int = 1
    block: int = 0


@dataclass
class Folded:
    """A graph without constant parts, where its constants' names came from, and how they were stored."""

    graph: Graph
    origin: dict[str, str] = field(default_factory=dict)
    stored: dict[str, Quantization] = field(default_factory=dict)

    def source(self, name: str) -> str:
        """Return the name that a constant goes by in the file."""
        return self.origin.get(name, name)


def fold(graph: Graph) -> Folded:
    """Return the graph with all that is known computed, and with the branches taken that are known to be taken.

    Raises: LiftError for a node that cannot be computed.
    """
    graph.body.steps = prune(graph.body)
    folder = _Folder(graph)
    folder.fold(graph.body, strict=True)
    graph.body.steps = prune(graph.body)
    return folder.folded


class _Folder:
    def __init__(self, graph: Graph) -> None:
        self.folded = Folded(graph)
        self.constants = graph.constants
        self.alias: dict[str, str] = {}
        self.runner = Runner(folding=True)
        self.reads = Counter(name for step in walk(graph.body) for name in step.inputs)
        inner = [body for step in walk(graph.body) for body in step.bodies.values()]
        self.kept = {name for body in (graph.body, *inner) for name in body.outputs}

    def fold(self, body: Body, strict: bool) -> None:
        """Fold the steps of a graph in place; inside of one that may not run, what fails is left as it is."""
        pending, left = deque(body.steps), []
        while pending:
            step = pending.popleft()
            rename(step, self.name)
            if step.op == "If" and is_host(self.constants.get(step.inputs[0])):
                taken = "then_branch" if self.constants[step.inputs[0]].any() else "else_branch"
                if taken not in step.bodies:
                    raise LiftError(f"{step.where}: has no {taken}.")
                chosen = step.bodies[taken]
                self.alias.update((o, i) for o, i in zip(step.outputs, chosen.outputs) if o)
                pending.extendleft(reversed(chosen.steps))
                continue
            if step.op in TABLE and all(name in self.constants for name in step.read_names()):
                try:
                    if self._compute(step):
                        continue
                except LiftError:
                    if strict:
                        raise
            for inner in step.bodies.values():
                self.fold(inner, strict=False)
            left.append(step)
        body.steps = left
        body.outputs = [self.name(name) for name in body.outputs]

    def name(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def _compute(self, step: Step) -> bool:
        """Make the step's outputs constants; say whether that was done."""
        found = self.runner.step(step, self.constants)
        size = sum(value.size for value in found.values() if is_host(value))
        before = sum(v.size for v in map(self.constants.get, step.inputs) if is_host(v))
        if size > LARGE and size > 4 * before:
            return False
        first = next((name for name in step.inputs if name), "")
        for name, value in found.items():
            self.constants[name] = value
            if first and step.op in PASSES_NAME:
                self.folded.origin[name] = self.folded.source(first)
        if step.op == "DequantizeLinear" and is_host(self.constants.get(first)):
            self.folded.stored[step.outputs[0]] = quantization(step, self.constants)
        elif first in self.folded.stored and step.op in PASSES_NAME:
            self.folded.stored[step.outputs[0]] = self.folded.stored[first]
        self._release(step)
        return True

    def _release(self, step: Step) -> None:
        """Let go of constants that no step reads any more: weights are large."""
        for name in step.inputs:
            self.reads[name] -= 1
            if self.reads[name] <= 0 and name not in self.kept and name not in self.alias.values():
                self.constants.pop(name, None)


def quantization(step: Step, constants: dict[str, Value]) -> Quantization:
    """Return how a DequantizeLinear or QuantizeLinear with constant parameters maps numbers to integers."""
    scale = constants[step.inputs[1]]
    point = step.inputs[2] if len(step.inputs) > 2 else ""
    known = constants.get(step.inputs[0])
    whole = known.dtype if step.op == "DequantizeLinear" and is_host(known) else np.uint8
    zero = constants[point] if point else np.zeros((), whole)
    axis, block = step.attributes.get("axis", 1), step.attributes.get("block_size", 0)
    return Quantization(zero.dtype.name, scale, zero, axis, block)


# -- graphs --------------------------------------------------------------------------------------------------------


def walk(body: Body) -> Iterator[Step]:
    """Yield every step, those of inner graphs too."""
    for step in body.steps:
        yield step
        for inner in step.bodies.values():
            yield from walk(inner)


def rename(step: Step, name: Callable[[str], str]) -> None:
    """Give the values that a step and its inner graphs read their new names."""
    step.inputs = [name(given) for given in step.inputs]
    for body in step.bodies.values():
        for inner in body.steps:
            rename(inner, name)
        body.outputs = [name(given) for given in body.outputs]


def prune(body: Body) -> list[Step]:
    """Return the steps whose results lead to an output."""
    needed, kept = set(body.outputs), []
    for step in reversed(body.steps):
        if any(name in needed for name in step.outputs if name):
            kept.append(step)
            needed |= step.read_names()
    return kept[::-1]


def drop_unread(graph: Graph) -> None:
    """Forget the constants that nothing reads."""
    needed = set(graph.body.outputs)
    for step in walk(graph.body):
        needed |= step.read_names()
        for inner in step.bodies.values():
            needed |= set(inner.outputs)
    for name in [name for name in graph.constants if name not in needed]:
        del graph.constants[name]


def check_operators(body: Body, where: str) -> None:
    """Raise `NotRead` for operators without a row: how often each stands in the file, where first, and why not."""
    missing = [step for step in walk(body) if step.op not in TABLE]
    if not missing:
        return
    counts = Counter(step.op for step in missing)
    parts = []
    for op, count in counts.most_common():
        near = get_close_matches(op, TABLE, n=1, cutoff=0.75)
        hint = REFUSED.get(op) or (f"did it mean '{near[0]}'?" if near else "")
        parts.append(f"{op} ({count}x{': ' + hint if hint else ''})")
    raise NotRead(f"{where}: node '{missing[0].name}' needs an operator that is not read: {', '.join(parts)}.")
