"""Rows of the matrix products; one with a constant matrix has a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import Value, optional_tensor, tensor


def multiply(call: Call, x: list[Value], a: Attributes) -> Value:
    """A product; the third input is a bias that `patterns` found behind it."""
    if call.layer is not None:
        return call.layer(tensor(x[0]))
    found, bias = product(tensor(x[0]), tensor(x[1])), optional_tensor(x, 2)
    return found if bias is None else found + bias


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return the matrix product, of integers too. Shapes (..., n, k) and (..., k, m) to (..., n, m)."""
    if left.is_floating_point():
        return torch.matmul(left, right)
    return torch.matmul(left.to(torch.float64), right.to(torch.float64)).to(left.dtype)


def gemm(call: Call, x: list[Value], a: Attributes) -> Value:
    """alpha A B + beta C, A and B transposed on demand."""
    left = tensor(x[0])
    left = left.transpose(0, 1) if a.get("transA") else left
    if call.layer is not None:
        return call.layer(left)
    right = tensor(x[1])
    right = right.transpose(0, 1) if a.get("transB") else right
    alpha, beta, added = a.get("alpha", 1.0), a.get("beta", 1.0), optional_tensor(x, 2)
    found = product(left, right)
    if alpha != 1.0:
        found = (found * alpha).to(left.dtype)
    if added is None:
        return found
    return found + (added if beta == 1.0 else (added * beta).to(left.dtype))


def fused_multiply(call: Call, x: list[Value], a: Attributes) -> Value:
    """alpha A B with the last two dimensions of A or B exchanged on demand."""
    left, right = tensor(x[0]), tensor(x[1])
    if a.get("transBatchA") or a.get("transBatchB"):
        raise call.not_read("a transposed batch")
    left = left.transpose(-1, -2) if a.get("transA") else left
    right = right.transpose(-1, -2) if a.get("transB") else right
    return torch.matmul(left, right) * a.get("alpha", 1.0)


def einsum(call: Call, x: list[Value], a: Attributes) -> Value:
    """Einsum: the sum of products that an equation in letters names."""
    equation, operands = str(a["equation"]).replace(" ", ""), [tensor(v) for v in x]
    return torch.einsum(_lettered(equation, operands), *operands)


def _lettered(equation: str, operands: Sequence[Any]) -> str:
    """Return an equation whose ellipses are letters where their number is known: it then has a rule for its axes."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if "..." not in equation or not arrow or len(terms) != len(operands):
        return equation
    counts = {o.dim() - len(t.replace("...", "")) for t, o in zip(terms, operands) if "..." in t}
    if len(counts) != 1 or not all("..." in t for t in [*terms, right]):
        return equation
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
    return equation.replace("...", "".join(free[: counts.pop()]))


ROWS: Rows = {
    "MatMul": Row(multiply),
    "Gemm": Row(gemm),
    "Einsum": Row(einsum),
    "Det": Row(lambda call, x, a: torch.linalg.det(tensor(x[0]))),
    "com.microsoft.FusedMatMul": Row(fused_multiply),
}
