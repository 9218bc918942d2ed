"""OpenVINO's operators as ONNX: one row an operator. What is not in the table is not read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from whet.core.errors import LiftError

PADS = {"same_upper": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}
PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge"}


class NotRead(LiftError):
    """An operator, or a use of it, that is not in the table."""


@dataclass
class Writer:
    """Gathers ONNX nodes; values go by names, and constants are kept once."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """Keep an array of any shape and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def add(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node with one output, which has the node's name, and return that."""
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def initializers(self) -> list[onnx.TensorProto]:
        """Return the constants as a file has them."""
        return [numpy_helper.from_array(value, name) for name, value in self.constants.items()]


@dataclass(frozen=True)
class Call:
    """An operator of OpenVINO with the names of its inputs; `name` is that of its output."""

    node: Any
    inputs: tuple[str, ...]
    name: str
    writer: Writer

    @property
    def attributes(self) -> dict[str, Any]:
        """What OpenVINO says of it."""
        return dict(self.node.get_attributes())

    def fixed(self, index: int) -> np.ndarray[Any, Any]:
        """Return the values of a constant input. Raises: NotRead where they are computed."""
        found = self.node.input_value(index).get_node()
        if found.get_type_name() != "Constant":
            raise NotRead(f"{self.node.get_type_name()} '{self.name}': its input {index} is computed.")
        return np.array(found.get_data())

    def rank(self, index: int = 0) -> int:
        """Return how many dimensions an input has. Raises: NotRead where that is open."""
        shape = self.node.get_input_partial_shape(index)
        if shape.rank.is_dynamic:
            raise NotRead(f"{self.node.get_type_name()} '{self.name}': the number of dimensions is open.")
        return int(shape.rank.get_length())

    def write(self, operator: str, *inputs: str, part: str = "", **attributes: Any) -> str:
        """Add a node: the operator's own, or with `part` a step on the way to it."""
        return self.writer.add(operator, inputs, f"{self.name}/{part}" if part else self.name, **attributes)


Rule = Callable[[Call], str]


def _same(operator: str, *attributes: str) -> Rule:
    """Return the rule of an operator that ONNX has, too, with attributes of the same names."""
    return lambda call: call.write(operator, *call.inputs, **{name: call.attributes[name] for name in attributes})


def _windows(call: Call) -> dict[str, Any]:
    """Return strides and pads of a convolution or pooling, of its spatial axes."""
    given = call.attributes
    found: dict[str, Any] = {"strides": list(given["strides"])}
    if given["auto_pad"] in PADS:
        return found | {"auto_pad": PADS[given["auto_pad"]]}
    return found | {"pads": [*given["pads_begin"], *given["pads_end"]]}


CONVOLUTIONS = ("Convolution", "GroupConvolution")


def _bias(node: Any) -> Any:
    """Return the values (channels,) that are added to all places of a convolution's output, by its only reader."""
    readers = [target.get_node() for target in node.output(0).get_target_inputs()]
    if node.get_type_name() not in CONVOLUTIONS or [reader.get_type_name() for reader in readers] != ["Add"]:
        return None
    given = next((v.get_node() for v in readers[0].input_values() if v.get_node().get_type_name() == "Constant"), None)
    rank = node.get_output_partial_shape(0).rank.get_length()
    channels = node.get_output_partial_shape(0)[1]
    if given is None or channels.is_dynamic or len(given.get_output_shape(0)) != rank:
        return None
    values = np.array(given.get_data())
    return values.reshape(-1) if values.shape == (1, channels.get_length(), *[1] * (rank - 2)) else None


def _convolved(call: Call, weight: str, **more: Any) -> str:
    bias = _bias(call.node)
    last = () if bias is None else (call.writer.constant(bias, bias.dtype),)
    dilations = list(call.attributes["dilations"])
    return call.write("Conv", call.inputs[0], weight, *last, dilations=dilations, **_windows(call), **more)


def _convolution(call: Call) -> str:
    return _convolved(call, call.inputs[1])


def _add(call: Call) -> str:
    for side, value in enumerate(call.node.input_values()):
        if _bias(value.get_node()) is not None:
            return call.inputs[side]  # the convolution adds it
    return call.write("Add", *call.inputs)


def _group_convolution(call: Call) -> str:
    groups, outputs, *rest = call.node.input_value(1).get_shape()  # (groups, out / groups, in / groups, ...)
    shape = call.writer.constant([groups * outputs, *rest])
    weight = call.write("Reshape", call.inputs[1], shape, part="weight")
    return _convolved(call, weight, group=groups)


def _pool(operator: str) -> Rule:
    def rule(call: Call) -> str:
        given = call.attributes
        more: dict[str, Any] = {"ceil_mode": int(given["rounding_type"] != "floor")}
        if operator == "AveragePool":
            more["count_include_pad"] = int(not given["exclude-pad"])
        elif any(size != 1 for size in given.get("dilations", ())):
            more["dilations"] = list(given["dilations"])
        return call.write(operator, call.inputs[0], kernel_shape=list(given["kernel"]), **_windows(call), **more)

    return rule


def _matmul(call: Call) -> str:
    sides = list(call.inputs)
    for side, key in enumerate(("transpose_a", "transpose_b")):
        if call.attributes[key]:
            axes = list(range(call.rank(side)))
            axes[-2:] = axes[:-3:-1]
            sides[side] = call.write("Transpose", sides[side], part=key, perm=axes)
    return call.write("MatMul", *sides)


def _clamp(call: Call) -> str:
    ends = [call.writer.constant(call.attributes[key], np.float32) for key in ("min", "max")]
    return call.write("Clip", call.inputs[0], *ends)


def _prelu(call: Call) -> str:
    """Slopes of one dimension are of channels, axis 1."""
    slope, rank = call.inputs[1], call.rank()
    if call.rank(1) == 1 and rank > 2:
        slope = call.write("Reshape", slope, call.writer.constant([-1, *[1] * (rank - 2)]), part="slope")
    return call.write("PRelu", call.inputs[0], slope)


def _swish(call: Call) -> str:
    steep = call.write("Mul", *call.inputs, part="steep") if len(call.inputs) > 1 else call.inputs[0]
    return call.write("Mul", call.inputs[0], call.write("Sigmoid", steep, part="gate"))


def _squared_difference(call: Call) -> str:
    apart = call.write("Sub", *call.inputs, part="apart")
    return call.write("Mul", apart, apart)


def _reduce(operator: str) -> Rule:
    return lambda call: call.write(operator, *call.inputs, keepdims=int(call.attributes["keep_dims"]))


def _pad(call: Call) -> str:
    mode = call.attributes["pad_mode"]
    if mode not in PAD_MODES:
        raise NotRead(f"Pad '{call.name}': its mode '{mode}' is not read.")
    pads = call.writer.constant([*call.fixed(1), *call.fixed(2)])
    return call.write("Pad", call.inputs[0], pads, *call.inputs[3:4], mode=PAD_MODES[mode])


def _strided_slice(call: Call) -> str:
    given = call.attributes
    if any(given["new_axis_mask"]) or any(given["ellipsis_mask"]):
        raise NotRead(f"StridedSlice '{call.name}': masks of new axes and ellipses are not read.")
    begin, end = call.fixed(1).tolist(), call.fixed(2).tolist()
    step = call.fixed(3).tolist() if len(call.inputs) > 3 else [1] * len(begin)

    def masked(key: str, axis: int) -> bool:
        return axis < len(given[key]) and bool(given[key][axis])

    gone = [axis for axis in range(len(begin)) if masked("shrink_axis_mask", axis)]
    most = np.iinfo(np.int64).max
    for axis in range(len(begin)):
        if axis in gone:
            end[axis] = begin[axis] + 1 if begin[axis] != -1 else most
            continue
        begin[axis] = (0 if step[axis] > 0 else most) if masked("begin_mask", axis) else begin[axis]
        end[axis] = (most if step[axis] > 0 else -most) if masked("end_mask", axis) else end[axis]
    where = [call.writer.constant(values) for values in (begin, end, list(range(len(begin))), step)]
    if not gone:
        return call.write("Slice", call.inputs[0], *where)
    cut = call.write("Slice", call.inputs[0], *where, part="slice")
    return call.write("Squeeze", cut, call.writer.constant(gone))


def _slice(call: Call) -> str:
    data, begin, end, step, *axes = call.inputs
    over = axes[0] if axes else call.writer.constant(list(range(len(call.fixed(1)))))
    return call.write("Slice", data, begin, end, over, step)


def _interpolate(call: Call) -> str:
    given, axes = call.attributes, call.fixed(len(call.inputs) - 1).tolist()
    kinds = {"nearest": "nearest", "linear": "linear", "linear_onnx": "linear", "cubic": "cubic"}
    shape = call.node.get_output_partial_shape(0)
    sizes = [shape[axis].get_length() for axis in axes]
    more = {"nearest_mode": given["nearest_mode"]} if given["mode"] == "nearest" else {}
    return call.write(
        "Resize", call.inputs[0], "", "", call.writer.constant(sizes), axes=axes, mode=kinds[given["mode"]],
        coordinate_transformation_mode=given["coordinate_transformation_mode"], **more,
    )  # fmt: skip


def _cast(call: Call) -> str:
    return call.write("Cast", call.inputs[0], to=element_type(call.node.get_output_element_type(0)))


def element_type(kind: Any) -> int:
    """Return the number by which ONNX names a type of OpenVINO's."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind.to_dtype())))


ALIKE = (
    "Equal", "Greater", "Less", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Floor", "Erf", "Sin",
    "Cos", "Squeeze", "Unsqueeze", "Tile",
)  # fmt: skip
CALLED = {
    "Multiply": "Mul", "Subtract": "Sub", "Divide": "Div", "Maximum": "Max", "Minimum": "Min", "Power": "Pow",
    "GreaterEqual": "GreaterOrEqual", "LessEqual": "LessOrEqual", "LogicalAnd": "And", "LogicalOr": "Or",
    "LogicalNot": "Not", "Negative": "Neg", "Ceiling": "Ceil", "HSwish": "HardSwish", "SoftPlus": "Softplus",
    "Select": "Where",
}  # fmt: skip
RULES: dict[str, Rule] = {
    **{name: _same(name) for name in ALIKE},
    **{name: _same(theirs) for name, theirs in CALLED.items()},
    **{name: _reduce(name) for name in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd")},
    "Softmax": _same("Softmax", "axis"), "LogSoftmax": _same("LogSoftmax", "axis"), "Elu": _same("Elu", "alpha"),
    "Concat": _same("Concat", "axis"),
    "Gelu": lambda call: call.write(
        "Gelu", call.inputs[0], approximate="tanh" if call.attributes["approximation_mode"] == "TANH" else "none"
    ),
    "Add": _add, "PRelu": _prelu, "Swish": _swish, "Clamp": _clamp, "SquaredDifference": _squared_difference,
    "Convolution": _convolution, "GroupConvolution": _group_convolution, "MatMul": _matmul,
    "MaxPool": _pool("MaxPool"), "AvgPool": _pool("AveragePool"), "Interpolate": _interpolate,
    "Reshape": lambda call: call.write("Reshape", *call.inputs, allowzero=int(not call.attributes["special_zero"])),
    "Transpose": lambda call: call.write("Transpose", call.inputs[0], perm=call.fixed(1).tolist()),
    "Gather": lambda call: call.write("Gather", *call.inputs[:2], axis=int(call.fixed(2).reshape(-1)[0])),
    "Pad": _pad, "StridedSlice": _strided_slice, "Slice": _slice, "Convert": _cast,
    "Broadcast": lambda call: call.write("Expand", *call.inputs[:2]),
    "ShapeOf": lambda call: call.write("Shape", call.inputs[0]),
}  # fmt: skip
