"""Running steps: used once to fold constants, and again, with layers and data, by the module."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from whet.core.errors import LiftError
from whet.onnx_reader.graph import Body, Step
from whet.onnx_reader.operators import TABLE
from whet.onnx_reader.table import Call
from whet.onnx_reader.values import NotRead, Value, is_host, is_symbolic, on_host, settled, tensor

MOST_KNOWN = 1 << 16
"""Known arrays of more elements become tensors: they are data by then, and torch computes with them faster."""


class Runner:
    """Runs steps one after the other. `layers` finds a layer by its path; `folding` keeps all results known."""

    def __init__(
        self, layers: Callable[[str], Any] | None = None, batch: int | None = None, folding: bool = False
    ) -> None:
        self.layers, self.batch, self.folding = layers, batch, folding

    def body(self, body: Body, inputs: Sequence[Value], outer: Mapping[str, Value]) -> list[Value]:
        """Run a graph inside a step; what it does not define comes from outside."""
        given = [on_host(value) for value in inputs] if self.folding else inputs
        values: MutableMapping[str, Value] = ChainMap(dict(zip(body.inputs, given)), outer)  # type: ignore[arg-type]
        self.steps(body.steps, values)
        return [values[name] if name else None for name in body.outputs]

    def steps(
        self,
        steps: Sequence[Step],
        values: MutableMapping[str, Value],
        spent: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        """Run steps; `spent` names the values that nobody reads any more after each."""
        for position, step in enumerate(steps):
            values.update(self.step(step, values))
            for name in spent.get(position, ()) if spent is not None else ():
                values.pop(name, None)

    def step(self, step: Step, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the step's outputs by name.

        Raises: LiftError with the node in front, of the same kind where the operator raised one itself.
        """
        if step.op not in TABLE:
            raise NotRead(f"{step.where}: this operator is not read")
        given = [values[name] if name else None for name in step.inputs]
        layer = self.layers(step.layer) if step.layer and self.layers is not None else None
        call = Call(step, lambda body, inputs: self.body(body, inputs, values), layer, self.batch)
        try:
            found = TABLE[step.op].run(call, given, step.attributes)
            results = [self._kept(value) for value in (found if isinstance(found, tuple) else (found,))]
        except LiftError as error:
            raise type(error)(f"{step.where}: {error}") from error
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "")
            raise LiftError(f"{step.where} fails: {type(error).__name__}: {reason.strip()}") from error
        missing = [name for name in step.outputs[len(results) :] if name]
        if missing:
            raise NotRead(f"{step.where}: its output '{missing[0]}' is not read")
        return {name: value for name, value in zip(step.outputs, results) if name}

    def _kept(self, value: Value) -> Value:
        value = settled(value)
        if self.folding:
            return on_host(value)
        large = is_host(value) and not is_symbolic(value) and value.size > MOST_KNOWN
        return tensor(value) if large else value
