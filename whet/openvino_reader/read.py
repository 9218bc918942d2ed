"""`read`: a file that OpenVINO reads as a torch module, which must give what OpenVINO gives."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from whet.core.errors import LiftError
from whet.hardware.openvino import core
from whet.onnx_reader import read as read_onnx
from whet.openvino_reader.rules import RULES, Call, NotRead, Writer, element_type

OPSET, IR_VERSION = 20, 9
TOLERANCE = 1e-3
"""How far the module's outputs may be from OpenVINO's, relative."""
QUANTIZED = "FakeQuantize"


def read(path: str | Path, example: Tensor | Iterable[Tensor] | None = None) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return the network of a `.tflite` or `.xml` file, and example inputs `(batch, ...)`, in the file's own layout.

    Its operators are written as ONNX, which is read as any file is. The module was run beside OpenVINO once.

    Raises: LiftError for a file that OpenVINO does not read, an operator that is not read here, a network of integers,
    and outputs that are others.
    """
    path = Path(path)
    if not path.is_file():
        raise LiftError(f"network file '{path}' does not exist.")
    try:
        model: Any = core().read_model(str(path))
    except RuntimeError as error:
        raise LiftError(f"'{path}' is damaged, or nothing that OpenVINO reads: {_last_line(error)}") from error
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"{path.stem}.onnx"
        onnx.save(written(model, path), place)
        try:
            module, inputs = read_onnx(place, example)
        except LiftError as error:
            raise LiftError(str(error).replace(str(place), str(path))) from error
    _check(model, module, inputs, path)
    return module, inputs


def written(model: Any, path: Path) -> onnx.ModelProto:
    """Return a model of OpenVINO's as ONNX; errors name the file that it is of."""
    writer, names = Writer(), dict[tuple[str, int], str]()
    inputs, outputs = list[onnx.ValueInfoProto](), list[onnx.ValueInfoProto]()
    for node in model.get_ordered_ops():
        kind, own = node.get_type_name(), node.get_friendly_name()
        given = tuple(names[_key(value)] for value in node.input_values())
        if kind == "Constant":
            names[own, 0] = writer.constant(node.get_data(), node.get_data().dtype)
        elif kind == "Parameter":
            names[own, 0] = _named(node.output(0), own)
            inputs.append(_info(names[own, 0], node.output(0)))
        elif kind != "Result":
            names[own, 0] = _written(Call(node, given, own, writer), path)
    for number, result in enumerate(model.outputs):
        value = result.get_node().input_value(0)
        name = _named(result, f"output_{number}")
        name = name if name not in {known.name for known in (*inputs, *outputs)} else f"output_{number}"
        writer.nodes.append(helper.make_node("Identity", [names[_key(value)]], [f"{name}"], name=f"output_{number}"))
        outputs.append(_info(name, result))
    graph = helper.make_graph(writer.nodes, path.stem, inputs, outputs, writer.initializers())
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])


def _written(call: Call, path: Path) -> str:
    kind = call.node.get_type_name()
    if kind == QUANTIZED:
        raise NotRead(
            f"'{path}' is quantized: '{call.name}' rounds to integers. Give the float network that it was made of."
        )
    if kind not in RULES or (call.node.get_output_size() > 1 and _several_read(call.node)):
        near = difflib.get_close_matches(kind, RULES, 1)
        hint = f" (the nearest that is: {near[0]})" if near and near[0] != kind else ""
        raise NotRead(f"'{path}': operator {kind}, '{call.name}', is not read{hint}. Export the network to ONNX.")
    try:
        return RULES[kind](call)
    except NotRead as error:
        raise NotRead(f"'{path}': {error} Export the network to ONNX.") from error


def _several_read(node: Any) -> bool:
    """Say whether more than an operator's first output is read."""
    return any(output.get_target_inputs() for output in node.outputs()[1:])


def _key(value: Any) -> tuple[str, int]:
    return value.get_node().get_friendly_name(), value.get_index()


def _named(port: Any, otherwise: str) -> str:
    names = sorted(port.get_names())
    return names[0] if names else otherwise


def _info(name: str, port: Any) -> onnx.ValueInfoProto:
    """Return name, type and shape of a value; what is open of dimension 0 is the batch."""
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return helper.make_tensor_value_info(name, element_type(port.get_element_type()), None)
    dims = [d.get_length() if d.is_static else f"axis_{i}" if i else "batch" for i, d in enumerate(shape)]
    return helper.make_tensor_value_info(name, element_type(port.get_element_type()), dims)


@torch.no_grad()
def _check(model: Any, module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    """Raise LiftError where the module gives something else than OpenVINO in f32, for numbers that are drawn."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(x.shape, generator=generator) if x.is_floating_point() else x for x in inputs]
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = list(compiled([x.numpy() for x in drawn]).values())
    given = module(*drawn)
    found = list(given) if isinstance(given, tuple | list) else [given]
    for number, (a, b) in enumerate(zip(found, wanted, strict=True)):
        apart = float(np.linalg.norm(a.numpy().astype(np.float64) - b)) / max(float(np.linalg.norm(b)), 1e-12)
        if not apart <= TOLERANCE:
            raise LiftError(
                f"'{path}' is read wrongly: output {number} is {apart:.2g} from what OpenVINO gives. Please report it."
            )


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
