"""Fourier transforms of an ONNX graph in the one form that OpenVINO and ONNX Runtime both compute rightly."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

KINDS = ("DFT", "STFT")


def spell_out_transforms(graph: Any) -> None:
    """Write each transform as one of three dimensions, (rows, length, 1 or 2), along the middle one, of both halves.

    OpenVINO 2026.4 reads neither the axis of a DFT nor `onesided` as the standard means them, and an STFT only where
    the batch is fixed. A transform whose length is free stays as it is, for the runtimes that read it.
    """
    for node in list(graph):
        if node.op_type in KINDS:
            spelled = _Spelled(graph, node)
            found = spelled.transform() if node.op_type == "DFT" else spelled.short_transform()
            if found is not None:
                old = node.outputs[0]
                found.shape, found.dtype = old.shape, old.dtype
                nodes = spelled.nodes
                onnx_ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, [old], [found])
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


class _Spelled:
    """The nodes that stand for one transform."""

    def __init__(self, graph: Any, node: Any) -> None:
        self.graph, self.node = graph, node
        self.nodes: list[Any] = []
        self.half = bool(self._flag("onesided", int(node.op_type == "STFT")))
        self.inverse = bool(self._flag("inverse", 0))

    def transform(self) -> Any | None:
        """X_k = sum_t x_t exp(-2 pi i k t / n), or 1/n of it with the other sign, along the stated axis."""
        x, axis, length = self.node.inputs[0], self._constant(2), self._constant(1)
        if x.shape is None:
            return None
        rank = len(x.shape)
        along = (rank - 2 if axis is None else int(axis)) % rank
        size = x.shape[along]
        fits = isinstance(size, int) and (length is None or int(length) == size)
        if self.inverse and self.half:
            fits = isinstance(size, int) and length is not None and int(length) // 2 + 1 == size
        others = [x.shape[i] for i in range(rank - 1) if i != along]
        if not fits or not isinstance(size, int) or sum(not isinstance(d, int) for d in others) > 1:
            return None
        order = [*(i for i in range(rank - 1) if i != along), along, rank - 1]
        value = self._op("Transpose", x, perm=order)
        if self.inverse and self.half:
            assert length is not None
            value, size = self._mirrored(value, int(length), rank), int(length)
        back = [d if isinstance(d, int) else -1 for d in others]
        value = self._whole(value, size, int(x.shape[-1]), back)
        if self.half and not self.inverse:
            value = self._slice(value, 0, size // 2 + 1, rank - 2)
        elif self.half:
            value = self._slice(value, 0, 1, rank - 1)
        return self._op("Transpose", value, perm=[order.index(i) for i in range(rank)])

    def short_transform(self) -> Any | None:
        """The transforms of overlapping frames: (N, T, 1) to (N, frames, bins, 2)."""
        x, step, window = self.node.inputs[0], self._constant(1), self.node.inputs[2]
        length = self._constant(3)
        if length is None and window is not None and window.shape is not None:
            length = window.shape[0]
        known = x.shape is not None and len(x.shape) == 3 and isinstance(x.shape[1], int) and x.shape[2] == 1
        if not known or step is None or not isinstance(length, int | np.integer):
            return None
        begins = np.arange(0, x.shape[1] - int(length) + 1, int(step))
        places = (begins[:, None] + np.arange(int(length))).astype(np.int32)
        value = self._op("Squeeze", x, self._const("axes", np.array([2])))
        value = self._op("Gather", value, self._const("frames", places), axis=1)
        if window is not None:
            value = self._op("Mul", value, window)
        value = self._whole(value, int(length), 1, [-1, len(begins)])
        return self._slice(value, 0, int(length) // 2 + 1, 2) if self.half else value

    def _whole(self, value: Any, size: int, parts: int, back: list[int]) -> Any:
        """Transform along the last dimension but that of real and imaginary parts; `back` are the sizes before it."""
        value = self._op("Reshape", value, self._const("rows", np.array([-1, size, parts])))
        middle = self._const("axis", np.array(1))
        value = self._op("DFT", value, None, middle, inverse=int(self.inverse), onesided=0)
        return self._op("Reshape", value, self._const("back", np.array([*back, size, 2])))

    def _mirrored(self, value: Any, size: int, rank: int) -> Any:
        """Put the mirrored half, with imaginary parts turned, behind one half of a spectrum."""
        rest = size - (size // 2 + 1)
        if not rest:
            return value
        turned = self._slice(value, rest, 0, rank - 2, -1)
        conjugate = self._const("conjugate", np.array([1, -1], value.dtype.numpy() if value.dtype else np.float32))
        return self._op("Concat", value, self._op("Mul", turned, conjugate), axis=rank - 2)

    def _slice(self, value: Any, start: int, end: int, axis: int, step: int = 1) -> Any:
        limits = {"start": start, "end": end, "along": axis, "step": step}
        return self._op("Slice", value, *(self._const(name, np.array([n])) for name, n in limits.items()))

    def _op(self, kind: str, *inputs: Any, **attributes: Any) -> Any:
        made = onnx_ir.node(kind, list(inputs), attributes)
        made.outputs[0].name = f"{self.node.outputs[0].name}.{len(self.nodes)}"
        made.outputs[0].dtype = self.node.outputs[0].dtype
        self.nodes.append(made)
        return made.outputs[0]

    def _const(self, name: str, stored: NDArray[Any]) -> Any:
        name = f"{self.node.outputs[0].name}.{name}.{len(self.nodes)}"
        value = onnx_ir.Value(name=name, const_value=onnx_ir.tensor(stored, name=name))
        value.shape, value.dtype = onnx_ir.Shape(stored.shape), onnx_ir.DataType.from_numpy(stored.dtype)
        self.graph.register_initializer(value)
        return value

    def _constant(self, position: int) -> Any | None:
        """Return the number that an input holds, None where it is absent or no constant."""
        value = self.node.inputs[position] if len(self.node.inputs) > position else None
        stored = onnx_ir.convenience.get_const_tensor(value) if value is not None else None
        return None if stored is None else stored.numpy().reshape(-1)[0]

    def _flag(self, name: str, otherwise: int) -> int:
        found = self.node.attributes.get(name)
        return int(found.as_int()) if found is not None else otherwise
