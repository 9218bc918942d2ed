"""Which outputs of a file are the network's: labels beside their probabilities are not, nobody trains them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

FLOATS = (
    onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.UNDEFINED,
)  # fmt: skip
"""Element types of outputs that are kept; UNDEFINED is what a file says that says nothing."""


def keep_floats(model: onnx.ModelProto) -> None:
    """Take outputs that are labels, maps or sequences out of the model, and what only they need.

    Nothing happens where no output is a tensor of floats. Converters of classifiers (scikit-learn's) write the label
    first, in operators of a domain of its own, then the probabilities, by default as a map for each sample: of such an
    output the tensor that the maps are made of is taken.
    """
    graph = model.graph
    maps = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ZipMap"}
    tensors = [onnx.ValueInfoProto(name=maps[o.name]) if o.name in maps else o for o in graph.output]
    kept = [output for output in tensors if _is_float(output)]
    if not kept or kept == list(graph.output):
        return
    needed, nodes = {output.name for output in kept}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed.update(_read([node]))
    outputs = [onnx.ValueInfoProto.FromString(output.SerializeToString()) for output in kept]
    steps = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(nodes)]
    del graph.output[:], graph.node[:]
    graph.output.extend(outputs)
    graph.node.extend(steps)


def _is_float(output: onnx.ValueInfoProto) -> bool:
    kind = output.type.WhichOneof("value")
    return kind is None or (kind == "tensor_type" and output.type.tensor_type.elem_type in FLOATS)


def _read(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """Yield the names that nodes read, those inside of their graphs too."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from (output.name for output in attribute.g.output)
                yield from _read(attribute.g.node)
