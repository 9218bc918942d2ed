"""`Writer`: the nodes and tensors of an ONNX file while it is being made."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, fx

from whet.core.errors import WhetError
from whet.hardware.onnx_writer.trace import Dims, Trace

Names = str | tuple[str, ...]

DTYPES = {
    torch.float32: onnx.TensorProto.FLOAT,
    torch.float64: onnx.TensorProto.DOUBLE,
    torch.float16: onnx.TensorProto.FLOAT16,
    torch.int64: onnx.TensorProto.INT64,
    torch.int32: onnx.TensorProto.INT32,
    torch.int16: onnx.TensorProto.INT16,
    torch.int8: onnx.TensorProto.INT8,
    torch.uint8: onnx.TensorProto.UINT8,
    torch.bool: onnx.TensorProto.BOOL,
}
ARITHMETIC = {
    operator.add: "Add",
    operator.sub: "Sub",
    operator.mul: "Mul",
    operator.floordiv: "Div",
}
"""How lengths are computed of lengths."""


class Unwritten(WhetError):
    """The table has no row for an operator, or not for this use of it."""


class Writer:
    """Nodes and initializers by name. `module` is in eval mode; `trace` is what it computes at two sizes."""

    def __init__(self, module: fx.GraphModule, trace: Trace) -> None:
        self.module, self.trace = module, trace
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.names: dict[fx.Node, Names] = {}
        self.is_packed = False
        """Whether weights are decoded within the file, which is to be as small as it can."""
        self._kept: dict[Any, str] = {}
        self._alive: list[Tensor] = []
        self._taken: set[str] = set()
        self._tensors = {
            id(tensor): name
            for named in (module.named_parameters, module.named_buffers)
            for name, tensor in reversed(list(named(remove_duplicate=False)))
        }

    @property
    def has_few_bits(self) -> bool:
        """Whether there are integers of four bits, or scales of groups."""
        packed = any(t.data_type == onnx.TensorProto.INT4 for t in self.initializers.values())
        return packed or any(a.name == "block_size" for n in self.nodes for a in n.attribute)

    def snapshot(self) -> tuple[dict[str, Any], list[Any], dict[Any, str]]:
        """Return what `restore` goes back to."""
        return dict(self.initializers), copy.deepcopy(self.nodes), dict(self._kept)

    def restore(self, before: tuple[dict[str, Any], list[Any], dict[Any, str]]) -> None:
        """Take back what was written since; constants that came with it are written again when they are asked for."""
        self.initializers, self.nodes, self._kept = before

    # -- what is known of a node ---------------------------------------------------------------------------------

    def dims(self, node: fx.Node) -> Dims:
        """Return the length of each axis, None where it is free."""
        return self.trace.dims(node)

    def rank(self, node: fx.Node) -> int:
        """Return the number of axes of a node's tensor."""
        return len(self.trace.dims(node))

    def dtype(self, value: Any) -> torch.dtype:
        """Return the element type of a node's tensor, or that which torch gives a number."""
        if isinstance(value, fx.Node) and isinstance(self.trace.values[value][0], Tensor):
            return self.trace.dtype(value)
        known = self.trace.values[value][0] if isinstance(value, fx.Node) else value
        return torch.tensor(known).dtype

    def fixed(self, value: Any) -> Any:
        """Return a value that no input can change; raise `Unwritten` for another."""
        if isinstance(value, fx.Node):
            if value not in self.trace.constants:
                raise Unwritten(f"'{value.name}' would have to be constant")
            return self.trace.values[value][0]
        return type(value)(self.fixed(v) for v in value) if isinstance(value, list | tuple) else value

    def reads(self, node: fx.Node, kind: type) -> bool:
        """Say whether a layer reads what a module of some kind gives."""
        source = node.args[0]
        if not isinstance(source, fx.Node) or source.op != "call_module":
            return False
        return isinstance(self.module.get_submodule(str(source.target)), kind)

    # -- names ---------------------------------------------------------------------------------------------------

    def reserve(self, names: Iterable[str]) -> None:
        """Keep names for inputs and outputs."""
        self._taken.update(names)

    def is_taken(self, name: str) -> bool:
        """Say whether something has a name."""
        return name in self._taken

    def fresh(self, wanted: str) -> str:
        """Return a name that nothing has yet."""
        name, count = wanted, 1
        while name in self._taken:
            name, count = f"{wanted}_{count}", count + 1
        self._taken.add(name)
        return name

    def name(self, value: Any, dtype: torch.dtype | None = None) -> str:
        """Return the name of a tensor: of a node's, or of a constant, cast to `dtype` where it is another."""
        if isinstance(value, fx.Node) and value not in self.trace.constants:
            return self._of_node(value, dtype)
        constant = self.fixed(value)
        if not isinstance(constant, Tensor):
            return self.constant(torch.tensor(constant, dtype=dtype))
        if dtype is not None and constant.dtype != dtype:
            return self.constant(constant.to(dtype))
        return self.constant(constant)

    def _of_node(self, node: fx.Node, dtype: torch.dtype | None) -> str:
        if isinstance(self.trace.values[node][0], int) and not isinstance(self.trace.values[node][0], bool):
            scalar = self.emit("Squeeze", [self.length(node), self.vector([0])])
            return self.cast(scalar, torch.int64, dtype)
        if node not in self.names:
            raise Unwritten(f"'{node.name}' is a number that depends on the data")
        name = self.names[node]
        if isinstance(name, tuple):
            raise Unwritten(f"'{node.name}' is several tensors where one is read")
        return self.cast(name, self.trace.dtype(node), dtype)

    def cast(self, name: str, given: torch.dtype, wanted: torch.dtype | None) -> str:
        """Return the name of a tensor in the `wanted` type: its own where it has that, or none is wanted."""
        if wanted is None or wanted == given:
            return name
        return self.emit("Cast", [name], to=DTYPES[wanted])

    def constant(self, tensor: Tensor, wanted: str | None = None, bits: int = 8) -> str:
        """Keep a tensor in the file, once, under its own name where the network has one for it.

        Integers of 4 `bits` are given as int8. Any shape; of small ones without a name equal values are kept once.
        """
        if tensor.dtype not in DTYPES:
            raise Unwritten(f"a constant of {tensor.dtype}")
        if bits != 8:
            return self._few_bits(tensor, self.fresh(wanted or "constant"), bits)
        key: Any = id(tensor)
        small = tensor.numel() <= 4096
        if key not in self._tensors and small:
            key = (str(tensor.dtype), tuple(tensor.shape), tensor.detach().contiguous().numpy().tobytes())
        if key not in self._kept:
            self._kept[key] = self.fresh(self._tensors.get(id(tensor), wanted or "constant"))
            self._alive.append(tensor)  # an id is only good as long as its object lives
            array = np.ascontiguousarray(tensor.detach().contiguous().numpy())
            self.store(self._kept[key], array.reshape(tuple(tensor.shape)))
        return self._kept[key]

    def _few_bits(self, tensor: Tensor, name: str, bits: int) -> str:
        if bits != 4:
            raise Unwritten(f"integers of {bits} bits")
        nibbles = tensor.contiguous().numpy().ravel().astype(np.uint8) & 15
        nibbles = np.pad(nibbles, (0, nibbles.size % 2))
        packed = (nibbles[::2] | nibbles[1::2] << 4).tobytes()  # two a byte, the first in its lower half
        self.initializers[name] = helper.make_tensor(
            name, onnx.TensorProto.INT4, tuple(tensor.shape), packed, raw=True
        )  # fmt: skip
        return name

    def store(self, name: str, array: Any) -> str:
        """Put an array of any shape into the file under a name that is free, and return the name."""
        self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def vector(self, values: Iterable[int]) -> str:
        """Return the name of a vector of whole numbers."""
        return self.constant(torch.tensor(list(values), dtype=torch.int64))

    # -- lengths -------------------------------------------------------------------------------------------------

    def length(self, value: Any) -> str:
        """Return the name of a vector of one whole number: a constant, or a length that depends on a free one."""
        if not isinstance(value, fx.Node) or value in self.trace.constants:
            return self.vector([int(self.fixed(value))])
        if value not in self.names:
            self.names[value] = self._length(value)
        name = self.names[value]
        assert isinstance(name, str)
        return name

    def _length(self, node: fx.Node) -> str:
        if node.target == torch.ops.aten.sym_size.int:
            source, dim = node.args[0], int(node.args[1])  # type: ignore[arg-type]
            assert isinstance(source, fx.Node)
            dim %= self.rank(source)
            return self.emit("Shape", [self.name(source)], start=dim, end=dim + 1)
        if node.target not in ARITHMETIC:
            raise Unwritten(f"a length computed by {node.target}")
        return self.emit(ARITHMETIC[node.target], [self.length(a) for a in node.args])

    def lengths(self, values: Sequence[Any]) -> str:
        """Return the name of a vector of lengths, free ones among them."""
        if all(not isinstance(v, fx.Node) or v in self.trace.constants for v in values):
            return self.vector([int(self.fixed(v)) for v in values])
        return self.emit("Concat", [self.length(v) for v in values], axis=0)

    # -- nodes ---------------------------------------------------------------------------------------------------

    def emit(self, op: str, inputs: Sequence[str], wanted: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; return its name."""
        return self.emit_several(op, inputs, [wanted or op.lower()], **attributes)[0]

    def emit_several(self, op: str, inputs: Sequence[str], wanted: Sequence[str], **attributes: Any) -> tuple[str, ...]:
        """Add a node with an output for each name that is wanted."""
        names = tuple(self.fresh(name) if name else "" for name in wanted)
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op, list(inputs), list(names), **given))
        return names

    def reshaped(self, name: str, node: fx.Node, source: fx.Node, sizes: Sequence[Any] | None = None) -> str:
        """Reshape to the shape of `node`; `sizes` are the lengths asked for, in case several are free."""
        dims, before = self.dims(node), self.dims(source)
        if dims == before and None not in dims:
            return name
        wanted = [-1 if d is None else d for d in dims]
        if wanted.count(-1) > 1:
            wanted = self._kept_lengths(node, source, wanted)
        if wanted.count(-1) > 1:
            return self._asked(name, node, sizes)
        return self.emit("Reshape", [name, self.vector(wanted)], node.name)

    def _kept_lengths(self, node: fx.Node, source: fx.Node, wanted: list[int]) -> list[int]:
        """Mark free lengths that stay in their place by 0, as ONNX copies those."""
        old, new = self.trace.values[source], self.trace.values[node]
        shapes = [tuple(v.shape) for v in old], [tuple(v.shape) for v in new]
        kept = list(wanted)
        for i, size in enumerate(wanted):
            if size == -1 and all(i < len(o) and o[i] == n[i] for o, n in zip(*shapes, strict=True)):
                kept[i] = 0
        return kept

    def _asked(self, name: str, node: fx.Node, sizes: Sequence[Any] | None) -> str:
        if sizes is None or len(sizes) != self.rank(node):
            raise Unwritten(f"'{node.name}' has several free lengths")
        return self.emit("Reshape", [name, self.lengths(sizes)], node.name)


def pads(padding: Sequence[int]) -> list[int]:
    """Return the same padding at the begin and at the end of each dimension, as ONNX lists it."""
    return [*padding, *padding]


def spread(value: Any, rank: int) -> list[int]:
    """Return one number for each spatial dimension."""
    values = [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
    return values if len(values) == rank else values * rank
