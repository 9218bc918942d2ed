"""From a network to the ONNX file: its inputs, its nodes by the table, its outputs."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any

import torch
from onnx import helper
from torch import Tensor, fx

from whet.core.net import Port
from whet.graph.file_inputs import BATCH
from whet.graph.layers import bind
from whet.hardware.onnx_writer import elementwise, layers, products, shapes
from whet.hardware.onnx_writer.digits import pack_digits, shorten
from whet.hardware.onnx_writer.sparse import pack_zeros
from whet.hardware.onnx_writer.trace import Trace, trace
from whet.hardware.onnx_writer.writer import DTYPES, Unwritten, Writer
from whet.support.structure import items

OPSET, IR_VERSION = 20, 10
OPSET_OF_FEW_BITS = 21
"""The first that knows integers of four bits and scales of groups."""
ROWS: Mapping[str, elementwise.Rule] = elementwise.ROWS | shapes.ROWS | products.ROWS | layers.ROWS


def write(module: fx.GraphModule, example: Sequence[Tensor], inputs: Sequence[Port], outputs: Sequence[Port]) -> Any:
    """Return a module in eval mode as an ONNX model, by the table.

    `example` holds its inputs in the shapes that the file has, with a batch of at least two; `inputs` and `outputs`
    name them and say which axes are free. Raises: Unwritten for what the table lacks, naming the operator.
    """
    w = Writer(module, _traced(module, example, inputs))
    outputs = [replace(port, name=name) for port, name in zip(outputs, _apart(inputs, outputs), strict=True)]
    w.reserve(port.name for port in (*inputs, *outputs))
    ports = iter(inputs)
    for node in module.graph.nodes:
        if node.op == "placeholder":
            w.names[node] = next(ports).name
        elif node.op == "output":
            made = _finish(w, node, outputs)
        elif node not in w.trace.constants and isinstance(w.trace.values[node][0], Tensor | tuple | list):
            w.names[node] = _written(w, node)
    pack_zeros(w)
    pack_digits(w)
    if w.is_packed:
        shorten(w, {port.name for port in outputs})
    return _model(w, example, inputs, outputs, made)


def _apart(inputs: Sequence[Port], outputs: Sequence[Port]) -> list[str]:
    """Return the names of the outputs, another where an input or an output before has it: a value has one name."""
    taken = {port.name for port in inputs}
    names = []
    for port in outputs:
        others = (f"{port.name}_{i}" for i in count(1))
        name = next(name for name in chain([port.name], others) if name not in taken)
        taken.add(name)
        names.append(name)
    return names


def _traced(module: fx.GraphModule, example: Sequence[Tensor], inputs: Sequence[Port]) -> Trace:
    """Trace a module on its example and on one that is longer, or else shorter, along every free axis.

    Each free name changes by a number of its own, so that equal lengths of two names are told apart.
    """
    names = [name for port in inputs for _, name in port.free if name != BATCH]
    steps = {name: i for i, name in enumerate([BATCH, *dict.fromkeys(names)], 1)}
    problem = ""
    for sign in (1, -1):
        try:
            other = [_resized(x, port, {k: sign * s for k, s in steps.items()}) for x, port in zip(example, inputs)]
            return trace(module, example, other)
        except (RuntimeError, ValueError, IndexError) as error:
            problem = problem or str(error).splitlines()[0]
    raise Unwritten(f"it runs at the size of its example only: {problem}")


def _resized(value: Tensor, port: Port, steps: Mapping[str, int]) -> Tensor:
    """Return an input that is longer by repeating its beginning, or shorter, along each free axis."""
    axes = dict(port.free) | ({} if port.batch_axis is None else {port.batch_axis: BATCH})
    for axis, name in axes.items():
        step, length = steps[name], value.shape[axis]
        if step < 0:
            value = value.narrow(axis, 0, length + (step if name != BATCH else -1))
        else:
            value = torch.cat([value, *[value.narrow(axis, 0, 1)] * step], axis)
    return value


def _written(w: Writer, node: fx.Node) -> Any:
    if node.op == "call_module":
        layer = w.module.get_submodule(str(node.target))
        if type(layer) not in layers.LAYERS:
            raise Unwritten(f"layer '{node.target}' is a {type(layer).__name__}")
        return layers.LAYERS[type(layer)](w, node, layer)
    if node.target is operator.getitem:
        return ROWS["getitem"](w, node, {})
    schema = getattr(node.target, "_schema", None)
    name = schema.name.partition("::")[2] if schema is not None else str(node.target)
    if schema is not None and name.endswith("_") and not name.endswith("__"):
        name = _in_place(node, name)
    if name not in ROWS:
        raise Unwritten(f"operator '{name}' has no row")
    return ROWS[name](w, node, bind(node.target, node.args, node.kwargs))


def _in_place(node: fx.Node, name: str) -> str:
    """Return the name of the operator that changes nothing: the same, where only its result is read.

    What is read otherwise, or is a view of something, would have to change as well.
    """
    changed = node.args[0]
    if name != "dropout_" and (not isinstance(changed, fx.Node) or len(changed.users) > 1 or _is_view(changed)):
        raise Unwritten(f"operator '{name}' changes what is read elsewhere")
    return name[:-1]


def _is_view(node: fx.Node) -> bool:
    """Say whether an operator's output may share its memory with an input."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)


def _finish(w: Writer, node: fx.Node, outputs: Sequence[Port]) -> list[tuple[Any, Port]]:
    """Give the outputs their names: by a node of their own, so that no tensor has two."""
    found = []
    for leaf, port in zip(_leaves(node.args[0]), outputs, strict=True):
        w.nodes.append(helper.make_node("Identity", [w.name(leaf)], [port.name]))
        found.append((leaf, port))
    _rename(w, {port.name for port in outputs})
    return found


def _rename(w: Writer, final: set[str]) -> None:
    """Let the node before an `Identity` write the output itself, where nothing else is in the way."""
    makers = {name: node for node in w.nodes for name in node.output}
    for node in [n for n in w.nodes if n.op_type == "Identity" and n.output[0] in final]:
        (old,), (new,) = node.input, node.output
        if old not in makers or old in final:
            continue
        w.nodes.remove(node)
        final.add(old)
        for other in w.nodes:
            for names in (other.input, other.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new


def _leaves(results: Any) -> list[fx.Node]:
    return [leaf for _, leaf in items(results) if isinstance(leaf, fx.Node)]


def _model(
    w: Writer, example: Sequence[Tensor], inputs: Sequence[Port], outputs: Sequence[Port], made: list[tuple[Any, Port]]
) -> Any:
    given = [
        helper.make_tensor_value_info(port.name, DTYPES[value.dtype], _named(list(value.shape), port))
        for value, port in zip(example, inputs, strict=True)
    ]
    results = []
    for node, port in made:
        dims = list(w.dims(node)) if node not in w.trace.constants else list(w.trace.values[node][0].shape)
        results.append(helper.make_tensor_value_info(port.name, DTYPES[w.dtype(node)], _named(dims, port)))
    graph = helper.make_graph(w.nodes, "network", given, results, list(w.initializers.values()))
    opset = OPSET_OF_FEW_BITS if w.has_few_bits else OPSET
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)


def _named(dims: list[Any], port: Port) -> list[Any]:
    """Return a shape with the names of its free lengths."""
    batch = {} if port.batch_axis is None or port.folded else {port.batch_axis: BATCH}
    free = {**dict(port.free), **batch}
    return [free.get(i, dim) for i, dim in enumerate(dims)]
