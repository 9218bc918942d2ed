"""What the rows of the operator table are written against: `Row`, and `Call`, which a handler is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from whet.onnx_reader.graph import Body, Step
from whet.onnx_reader.values import NotRead, Value

Attributes = dict[str, Any]
"""An operator's attributes as Python values; strings are `str`, tensors are arrays."""

Run = Callable[[Body, Sequence[Value]], list[Value]]


@dataclass
class Call:
    """One run of a step: its layer where it has one, and `run`, which runs a graph inside it.

    `batch` is the number that the file fixes its batch to, None where the batch is free; handlers that meet this
    number in a shape put the real batch in its place.
    """

    step: Step
    run: Run
    layer: Any = None
    batch: int | None = None

    @property
    def op(self) -> str:
        """The operator's name."""
        return self.step.op

    @property
    def opset(self) -> int:
        """The operator set that the node was written for."""
        return self.step.opset

    @property
    def outputs(self) -> int:
        """How many outputs are wanted; those after the last wanted one do not count."""
        names = self.step.outputs
        return max((i + 1 for i, name in enumerate(names) if name), default=0)

    def not_read(self, what: str) -> NotRead:
        """Return the error that something of the node is not read."""
        return NotRead(f"{what} is not read")


Handler = Callable[[Call, list[Value], Attributes], Value]
"""Takes the inputs, None where absent, and returns one value, or a tuple of the values of all outputs.

Known values in, known values out, wherever numpy can compute them: so the arithmetic of shapes never becomes part of
the traced graph.
"""


@dataclass(frozen=True)
class Row:
    """A row of the operator table; `known` are the positions of inputs that must be known while tracing."""

    run: Handler
    known: tuple[int, ...] = ()


Rows = dict[str, Row]


def choice(a: Attributes, name: str, *allowed: str) -> str:
    """Return an attribute that is one of a few words, the first where the file has none.

    >>> choice({}, "mode", "constant", "edge")
    'constant'
    """
    given = a.get(name, allowed[0])
    if given not in allowed:
        raise NotRead(f"{name} '{given}' is not read; {', '.join(allowed)} are allowed")
    return str(given)
