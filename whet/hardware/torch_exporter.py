"""Writing a `Net` as ONNX by torch's own exporter, for what the table of `onnx_writer` lacks."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import onnx
import onnx_ir
import torch
from onnxscript import opset20 as op

from whet.core.errors import TargetError
from whet.core.net import Net
from whet.graph import fake_quantize
from whet.graph.file_inputs import BATCH
from whet.graph.outside import unwrap
from whet.hardware.free_axes import free_axes, outside_example
from whet.hardware.onnx_fourier import spell_out_transforms
from whet.hardware.onnx_integers import store_integers
from whet.hardware.onnx_writer.file import OPSET


def _quantize_dequantize(x: Any, scale: Any, zero_point: Any, axis: int, qmin: int, qmax: int) -> Any:
    kind = onnx.TensorProto.UINT8 if qmin >= 0 else onnx.TensorProto.INT8
    where = {} if axis < 0 else {"axis": axis}
    zero = op.Cast(zero_point, to=kind)
    return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero, **where), scale, zero, **where)


TRANSLATIONS: dict[Any, Any] = {fake_quantize.fake_quantize._opoverload: _quantize_dequantize}


def exported(net: Net) -> Any:
    """Return `net`, whose batch norms are folded, as a model of `onnx_ir`: any operator, in some seconds.

    It has the names, the layout and the free axes of the net's ports. Raises: TargetError naming the operation that
    ONNX cannot express.
    """
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                unwrap(net), outside_example(net), dynamic_shapes=free_axes(net), strict=False
            )
            found = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, custom_translation_table=TRANSLATIONS, verbose=False
            )
    except Exception as error:
        raise TargetError(f"network '{net.name}' cannot be written as ONNX: {_reason(error)}") from error
    assert found is not None
    store_integers(found.model.graph)
    spell_out_transforms(found.model.graph)
    _strip(found.model)
    _name_dimensions(found.model, net)
    _name_ports(found.model.graph, net)
    return found.model


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _strip(model: Any) -> None:
    """Take out the exporter's notes on each node, which tell where the file was made."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
    for value in _values(model.graph):
        value.metadata_props.clear()


def _values(graph: Any) -> list[Any]:
    return [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]


def _name_dimensions(model: Any, net: Net) -> None:
    """Call the batch `batch` and the other free axes what the ports do, wherever they stand.

    An axis that an operator fixes to the example's size stays fixed.
    """
    names: dict[str, str] = {}
    for value, port in zip(model.graph.inputs, net.inputs, strict=True):
        axes = dict(port.free)
        if port.batch_axis is not None:
            axes = {port.batch_axis: BATCH} | {i: name for i, name in axes.items() if name != BATCH}
        # A dimension that an operator fixes is a name made of digits.
        names.update((d, name) for axis, name in axes.items() if not (d := str(value.shape[axis])).isdigit())
    symbol = re.compile(r"[A-Za-z_]\w*")
    for value in _values(model.graph):
        if value.shape is not None:
            texts = [symbol.sub(lambda found: names.get(found[0], found[0]), str(dim)) for dim in value.shape]
            value.shape = onnx_ir.Shape([int(text) if text.isdigit() else text for text in texts])


def _name_ports(graph: Any, net: Net) -> None:
    """Give inputs and outputs the names of the ports; what goes by such a name within the graph gets another."""
    for position, value in enumerate(graph.outputs):
        # A name needs a value of its own: an input or a constant that is given back, or one value given twice.
        if value in graph.outputs[:position] or value.producer() is None:
            node = onnx_ir.node("Identity", [value])
            graph.append(node)
            node.outputs[0].shape, node.outputs[0].dtype = value.shape, value.dtype
            graph.outputs[position] = node.outputs[0]
    ports = [*zip(graph.inputs, net.inputs, strict=True), *zip(graph.outputs, net.outputs, strict=True)]
    taken = {value.name for value in _values(graph)} | {port.name for _, port in ports}
    named: dict[str, Any] = {}
    for value, port in ports:
        named[port.name if port.name not in named else _other(port.name, taken)] = value
    ours = set(map(id, named.values()))
    for value in _values(graph):
        if id(value) in ours or value.name in named:
            _rename(graph, value, _other(value.name, taken))
    for name, value in named.items():
        value.name = name


def _other(name: str, taken: set[str]) -> str:
    """Return a name that is not taken, and take it."""
    count = 1
    while f"{name}_{count}" in taken:
        count += 1
    taken.add(f"{name}_{count}")
    return f"{name}_{count}"


def _rename(graph: Any, value: Any, name: str) -> None:
    if value.is_initializer():
        del graph.initializers[value.name]
        value.name = value.const_value.name = name
        graph.register_initializer(value)
    else:
        value.name = name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter away; what it raises still comes through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
