"""Runs one row of the operator table, as the reader does for one node of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from whet.onnx_reader.graph import Body, Step
from whet.onnx_reader.operators import TABLE
from whet.onnx_reader.run import Runner
from whet.onnx_reader.table import Call


def row(
    op: str, *values: Any, opset: int = 22, outputs: int = 1, bodies: dict[str, Body] | None = None, **attributes: Any
) -> Any:
    """Return what a node gives for its inputs: arrays are known values, tensors are data, None is absent."""
    names = [f"y{i}" for i in range(outputs)]
    step = Step(op, "node", ["x"] * len(values), names, attributes, opset, bodies or {})
    call = Call(step, lambda body, inputs: Runner().body(body, inputs, {}))
    return TABLE[op].run(call, list(values), attributes)


def t(*rows: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return data: a tensor of one row of numbers, or of several."""
    return torch.tensor(rows[0] if len(rows) == 1 else rows, dtype=dtype)


def known(*numbers: int) -> Any:
    """Return whole numbers as a known value."""
    return np.array(numbers, np.int64)
