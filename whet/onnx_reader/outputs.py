"""Which outputs of a file are the network's: all that are tensors and need only operators that are read."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from whet.onnx_reader.graph import DOMAINS
from whet.onnx_reader.operators import TABLE
from whet.onnx_reader.order import read_by

FLOATS = (
    onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.UNDEFINED,
)  # fmt: skip
"""Element types of outputs that are never left out; UNDEFINED is what a file says that says nothing."""


def leave_out_unread(model: onnx.ModelProto) -> tuple[str, ...]:
    """Take labels, maps and sequences out of the model that cannot be read, and say which.

    Nothing happens where no output is a tensor of floats. Converters of classifiers (scikit-learn's) write the label
    first, in operators of a domain of its own, then the probabilities, by default as a map for each sample: of such an
    output the tensor that the maps are made of is taken.
    """
    graph = model.graph
    maps = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ZipMap"}
    tensors = [onnx.ValueInfoProto(name=maps[o.name]) if o.name in maps else o for o in graph.output]
    if not any(map(_is_float, tensors)):
        return ()
    own = {(function.domain, function.name) for function in model.functions}
    kept = [o for o in tensors if _is_float(o) or (_is_tensor(o) and _is_read(_needed(graph, [o.name]), own))]
    if kept == list(graph.output):
        return ()
    steps = [onnx.NodeProto.FromString(node.SerializeToString()) for node in _needed(graph, [o.name for o in kept])]
    outputs = [onnx.ValueInfoProto.FromString(output.SerializeToString()) for output in kept]
    lost = [o.name for o in tensors if o not in kept]
    del graph.output[:], graph.node[:]
    graph.output.extend(outputs)
    graph.node.extend(steps)
    return tuple(f"output '{name}' is left out: it is no tensor, or needs operators that are not read" for name in lost)


def _needed(graph: onnx.GraphProto, outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Return the nodes that lead to outputs, in the file's order."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    found, names = set[int](), list(outputs)
    while names:
        i = makers.get(names.pop())
        if i is not None and i not in found:
            found.add(i)
            names.extend(read_by([graph.node[i]]))
    return [graph.node[i] for i in sorted(found)]


def _is_read(nodes: Iterable[onnx.NodeProto], own: set[tuple[str, str]]) -> bool:
    return all(
        node.op_type == "Constant"
        or (node.domain, node.op_type) in own
        or (node.domain in DOMAINS and (DOMAINS[node.domain] + node.op_type in TABLE or node.op_type in TABLE))
        for node in nodes
    )


def _is_tensor(output: onnx.ValueInfoProto) -> bool:
    return output.type.WhichOneof("value") in (None, "tensor_type") and output.type.tensor_type.elem_type not in (
        onnx.TensorProto.STRING,
    )


def _is_float(output: onnx.ValueInfoProto) -> bool:
    return _is_tensor(output) and output.type.tensor_type.elem_type in FLOATS
