"""Rows of control flow: what is known while tracing is followed or unrolled, what depends on data is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import LiftError
from whet.onnx_reader.operators.sequence import items
from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import DependsOnData, Value, at, is_host, scalar, tensor

MOST_ITERATIONS = 4096


def known(value: Value, what: str) -> Any:
    """Return a known scalar; data cannot steer a network that is traced."""
    if isinstance(value, Tensor):
        raise DependsOnData(
            f"{what} depends on the network's input, so it cannot be lifted: give an input that is the same in every "
            "call its value (--fix NAME=VALUE), or measure the file as it is"
        )
    return scalar(value)


def branch(call: Call, x: list[Value], a: Attributes) -> Value:
    """If: the outputs of the branch that the known condition chooses."""
    chosen = "then_branch" if known(x[0], "its condition") else "else_branch"
    return tuple(call.run(call.step.bodies[chosen], []))


def stacked(results: list[Value], axis: int = 0) -> Value:
    """Return what iterations gave, one after the other along a new axis."""
    if all(map(is_host, results)):
        return np.stack(results, axis)
    return torch.stack([tensor(v) for v in results], axis)


def loop(call: Call, x: list[Value], a: Attributes) -> Value:
    """Run the body while its condition holds, at most the given number of times; without a condition, that often.

    Body: (iteration, condition, states) -> (condition, states, what is collected).
    """
    body = call.step.bodies["body"]
    most = MOST_ITERATIONS + 1 if at(x, 0) is None else int(known(x[0], "its number of iterations"))
    going = True if at(x, 1) is None else bool(known(x[1], "its condition"))
    counted = at(x, 1) is None
    states: list[Value] = list(x[2:])
    collected: list[list[Value]] = [[] for _ in range(len(body.outputs) - 1 - len(states))]
    iteration = 0
    while going and iteration < most:
        if iteration == MOST_ITERATIONS:
            raise call.not_read(f"a loop of more than {MOST_ITERATIONS} iterations")
        results = call.run(body, [np.array(iteration, np.int64), np.array(going), *states])
        going = counted or bool(known(results[0], "the condition of its body"))
        states = results[1 : 1 + len(states)]
        for place, value in zip(collected, results[1 + len(states) :]):
            place.append(value)
        iteration += 1
    if not iteration and collected:
        raise LiftError("collects the results of no iteration, whose shape nobody knows.")
    return (*states, *(stacked(c) for c in collected))


def scan(call: Call, x: list[Value], a: Attributes) -> Value:
    """Run the body over slices of its last inputs; unrolled. Body: (states, slices) -> (states, what is collected)."""
    if call.opset < 9:
        return _scan_batched(call, x, a)
    body, count = call.step.bodies["body"], a["num_scan_inputs"]
    states, sequences = list(x[: len(x) - count]), x[len(x) - count :]
    axes = a.get("scan_input_axes") or [0] * count
    sequences = [_turned(v, axis) for v, axis in zip(sequences, axes)]
    return tuple(_scanned(call, states, sequences, len(body.outputs) - len(states), a))


def _turned(value: Value, axis: int) -> Value:
    return np.moveaxis(value, axis, 0) if is_host(value) else value.movedim(axis, 0)


def _scanned(call: Call, states: list[Value], sequences: list[Value], outputs: int, a: Attributes) -> list[Value]:
    """Return the last states and what was collected."""
    lengths = {int(v.shape[0]) for v in sequences}
    if len(lengths) != 1 or max(lengths) > MOST_ITERATIONS:
        raise call.not_read(f"a scan over sequences of lengths {sorted(lengths)}")
    length = lengths.pop()
    backwards = a.get("scan_input_directions") or [0] * len(sequences)
    collected: list[list[Value]] = [[] for _ in range(outputs)]
    for i in range(length):
        slices = [v[length - 1 - i if back else i] for v, back in zip(sequences, backwards)]
        slices = [np.asarray(v) if isinstance(v, np.generic) else v for v in slices]
        results = call.run(call.step.bodies["body"], [*states, *slices])
        states = results[: len(states)]
        for place, value in zip(collected, results[len(states) :]):
            place.append(value)
    if not length and collected:
        raise LiftError("collects the results of no iteration, whose shape nobody knows.")
    turned = a.get("scan_output_directions") or [0] * outputs
    axes = a.get("scan_output_axes") or [0] * outputs
    found = [stacked(c[::-1] if back else c, axis) for c, back, axis in zip(collected, turned, axes)]
    return [*states, *found]


def _scan_batched(call: Call, x: list[Value], a: Attributes) -> Value:
    """Operator set 8: every example of the batch on its own, all of one length."""
    body, count = call.step.bodies["body"], a["num_scan_inputs"]
    if x[0] is not None:
        raise call.not_read("a scan with lengths of its sequences")
    given = [tensor(v) for v in x[1:]]
    a = {**a, "scan_input_directions": a.get("directions")}
    rows = []
    for i in range(int(given[0].shape[0])):
        states: list[Value] = [v[i] for v in given[: len(given) - count]]
        sequences: list[Value] = [v[i] for v in given[len(given) - count :]]
        rows.append(_scanned(call, states, sequences, len(body.outputs) - len(states), a))
    return tuple(stacked(list(column)) for column in zip(*rows))


def sequence_map(call: Call, x: list[Value], a: Attributes) -> Value:
    """Run the body for each item of the first sequence, with those of further sequences beside it."""
    body, first = call.step.bodies["body"], items(x[0])
    rows = []
    for i, item in enumerate(first):
        others = [v[i] if isinstance(v, list) else v for v in x[1:]]
        rows.append(call.run(body, [item, *others]))
    return tuple([row[i] for row in rows] for i in range(len(body.outputs)))


ROWS: Rows = {
    "If": Row(branch, known=(0,)),
    "Loop": Row(loop, known=(0, 1)),
    "Scan": Row(scan),
    "SequenceMap": Row(sequence_map),
}
