"""Quantised networks read back: the float network that a file stores as integers, and how it stores them.

Three forms are known. In the QDQ form, QuantizeLinear and DequantizeLinear stand in pairs around float operators: the
pairs go, constants are dequantised. In the operator form (`QLinearConv` and its kin), each operator becomes its float
one, with dequantised weights. `MatMulNBits` becomes a matrix product. What is kept of the file's decision is a
`Quantization` (scales, zero points, type, axis, block) for each weight and each activation that was rounded.

What a quantised file computes besides rounding is its limits, and tools rely on the lower one: they leave out a ReLU
whose output is stored with zero as the lowest integer. So where the lowest integer stands for zero a ReLU is put back
(or a ReLU6, where the highest stands for six), unless the values are never negative anyway or the network's inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from whet.core.errors import LiftError
from whet.onnx_reader.fold import Folded, Quantization, quantization, rename
from whet.onnx_reader.graph import Step
from whet.onnx_reader.operators.quantized import LIMITS, dequantized, limits
from whet.onnx_reader.values import Array, NotRead, is_host

MOVES = (
    "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Slice", "Split", "Gather", "MaxPool",
    "GlobalMaxPool", "Resize", "Expand", "Tile", "DepthToSpace", "SpaceToDepth",
)  # fmt: skip
"""Operators on integers that do the same to the numbers these stand for."""

POSITIVE = ("Relu", "Sigmoid", "Softmax", "Abs", "Exp", "Sqrt", "HardSigmoid", "Softplus", "ReduceL1", "ReduceL2")
KEEP_SIGN = (*MOVES, "Add", "Mul", "Concat", "Sum", "AveragePool", "GlobalAveragePool", "Dropout", "Pad", "ReduceMean")
"""Operators whose results are never negative, and those of which that holds if it holds of their inputs."""


@dataclass(frozen=True)
class Real:
    """The float value that stands for integers, and how they stand for it."""

    name: str
    how: Quantization


@dataclass(frozen=True)
class Form:
    """A quantised operator: its float one, where its operands stand (value, scale, zero point), and its result's."""

    op: str
    operands: tuple[tuple[int, int, int], ...]
    result: tuple[int, int]
    bias: int = -1
    plain: tuple[int, ...] = ()


ONE, TWO = ((0, 1, 2),), ((0, 1, 2), (3, 4, 5))

FORMS: dict[str, Form] = {
    "QLinearConv": Form("Conv", TWO, (6, 7), bias=8),
    "QLinearMatMul": Form("MatMul", TWO, (6, 7)),
    "com.microsoft.QGemm": Form("Gemm", TWO, (7, 8), bias=6),
    "com.microsoft.QLinearAdd": Form("Add", TWO, (6, 7)),
    "com.microsoft.QLinearMul": Form("Mul", TWO, (6, 7)),
    "com.microsoft.QLinearSigmoid": Form("Sigmoid", ONE, (3, 4)),
    "com.microsoft.QLinearLeakyRelu": Form("LeakyRelu", ONE, (3, 4)),
    "com.microsoft.QLinearAveragePool": Form("AveragePool", ONE, (3, 4)),
    "com.microsoft.QLinearGlobalAveragePool": Form("GlobalAveragePool", ONE, (3, 4)),
    "com.microsoft.QLinearSoftmax": Form("Softmax", ONE, (3, 4)),
    "com.microsoft.QLinearConcat": Form("Concat", (), (0, 1)),
    "com.microsoft.QLinearWhere": Form("Where", ((1, 2, 3), (4, 5, 6)), (7, 8), plain=(0,)),
}


def unquantize(folded: Folded) -> dict[str, Quantization]:
    """Take quantisation out of the graph; return how its activations were rounded, by name."""
    worker = _Unquantizer(folded)
    if any(s.op in RULES for s in folded.graph.body.steps):
        worker.run()
    return worker.activations


class _Unquantizer:
    def __init__(self, folded: Folded) -> None:
        self.folded, self.body, self.constants = folded, folded.graph.body, folded.graph.constants
        self.taken = {*self.constants, *self.body.inputs, *(o for s in self.body.steps for o in s.outputs)}
        self.real: dict[str, Real] = {}
        self.alias: dict[str, str] = {}
        self.stored: set[str] = set()
        self.rectified: dict[str, str] = {}
        self.positive = set(self.body.inputs)
        self.activations: dict[str, Quantization] = {}
        self.makers: dict[str, Step] = {}
        self.out: list[Step] = []

    def run(self) -> None:
        for step in self.body.steps:
            rename(step, self.name)
            rule = RULES.get(step.op)
            if not (rule(self, step) if rule is not None else self._moved(step)):
                for name in sorted(step.read_names()):
                    self._store(name)
                self.emit(step)
        self.body.outputs = [self.name(name) for name in self.body.outputs]
        for name in self.body.outputs:
            self._store(name)
        self.body.steps = self.out

    def name(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def fresh(self, name: str) -> str:
        while name in self.taken:
            name += "~"
        self.taken.add(name)
        return name

    def emit(self, step: Step) -> None:
        self.out.append(step)
        self.makers.update((name, step) for name in step.outputs if name)
        if self._never_negative(step):
            self.positive.update(name for name in step.outputs if name)

    def _never_negative(self, step: Step) -> bool:
        if step.op in POSITIVE:
            return True
        given = [name for name in step.inputs if name]
        if step.op == "Clip":
            low = self.constants.get(step.inputs[1]) if len(step.inputs) > 1 else step.attributes.get("min", -1.0)
            return low is not None and bool(np.all(np.asarray(low) >= 0))
        if step.op not in KEEP_SIGN:
            return False
        read = given if step.op in ("Add", "Mul", "Concat", "Sum") else given[:1]
        return all(name in self.positive or self._is_positive_constant(name) for name in read)

    def _is_positive_constant(self, name: str) -> bool:
        value = self.constants.get(name)
        return is_host(value) and value.dtype.kind in "fiu" and bool((value >= 0).all())

    def constant(self, name: str, value: Array, source: str, how: Quantization | None = None) -> str:
        """Add a constant that was made of another one, and return its name."""
        made = self.fresh(name)
        self.constants[made] = value
        self.folded.origin[made] = self.folded.source(source)
        if how is not None:
            self.folded.stored[made] = how
        return made

    def _store(self, name: str) -> None:
        """Make the integers themselves, where something reads them that has no float form."""
        if name not in self.real or name in self.stored:
            return
        self.stored.add(name)
        found = self.real[name]
        scale = self.constant(f"{name}.scale", found.how.scale, name)
        zero = self.constant(f"{name}.zero_point", found.how.zero_point, name)
        attributes = {"axis": found.how.axis, "block_size": found.how.block}
        self.emit(Step("QuantizeLinear", f"{name}.quantize", [found.name, scale, zero], [name], attributes))

    # -- values --

    def quantize(self, name: str, out: str, how: Quantization) -> None:
        """Let the float `name` stand for the integers `out`; where these cannot be negative a ReLU is put back."""
        self.activations[out.removesuffix("_quantized").removesuffix("_QuantizeLinear_Output")] = how
        self.real[out] = Real(self._rectify(name, how), how)

    def _rectify(self, name: str, how: Quantization) -> str:
        dtype = how.zero_point.dtype
        if name in self.positive or how.scale.size != 1:
            return name
        low, high = limits(dtype)
        if not (how.zero_point == low).all():
            return name
        if name not in self.rectified:
            out = self.fresh(f"{name}.rectified")
            top = float(how.scale.reshape(-1)[0]) * (high - low)
            clip = {"min": 0.0, "max": 6.0} if abs(top - 6.0) < 1e-3 else {}
            self.emit(Step("Clip" if clip else "Relu", out, [name], [out], clip))
            self.positive.add(out)
            self.rectified[name] = out
        return self.rectified[name]

    def operand(self, step: Step, places: tuple[int, int, int], axis: int) -> str | None:
        """Return the float value of an operand, None where it is not known to stand for one."""
        value, scale, zero = (step.inputs[i] if i < len(step.inputs) else "" for i in places)
        if scale not in self.constants or (zero and zero not in self.constants):
            return None
        known = self.constants.get(value)
        point = self.constants[zero] if zero else np.zeros((), known.dtype if is_host(known) else np.uint8)
        how = Quantization(point.dtype.name, self.constants[scale], point, axis)
        if is_host(known):
            return self.constant(f"{value}.float", dequantized(known, how.scale, point, axis), value, how)
        found = self.real.get(value)
        return found.name if found is not None and same(found.how, how) else None

    def _moved(self, step: Step) -> bool:
        """Let an operator that only moves integers move the numbers that they stand for."""
        found = self.real.get(step.inputs[0]) if step.inputs else None
        if found is None or found.how.scale.size != 1 or step.bodies:
            return False
        if step.op == "ArgMax":
            self.emit(replace(step, inputs=[found.name, *step.inputs[1:]]))
            return True
        if step.op == "Pad":
            return self._padded(step, found)
        several = step.op != "Split" and sum(map(bool, step.outputs)) > 1
        if step.op not in MOVES or several or any(name in self.real for name in step.inputs[1:]):
            return False
        outputs = [self.fresh(f"{name}.float") if name else "" for name in step.outputs]
        self.emit(replace(step, inputs=[found.name, *step.inputs[1:]], outputs=outputs))
        for name, out in zip(step.outputs, outputs):
            if name:
                self.real[name] = Real(out, found.how)
        return True

    def _padded(self, step: Step, found: Real) -> bool:
        """Pad with the number that the padding's integer stands for."""
        inputs = [found.name, *step.inputs[1:]]
        if step.attributes.get("mode", "constant") == "constant":
            given = step.inputs[2] if len(step.inputs) > 2 else ""
            if len(step.inputs) < 2 or (given and given not in self.constants):
                return False
            fill = self.constants[given] if given else np.zeros((), found.how.zero_point.dtype)
            how = found.how
            number = dequantized(fill.reshape(()), how.scale.reshape(()), how.zero_point.reshape(()), 0)
            inputs[2:3] = [self.constant(f"{step.outputs[0]}.fill", number, given or step.outputs[0])]
        out = self.fresh(f"{step.outputs[0]}.float")
        self.emit(replace(step, inputs=inputs, outputs=[out]))
        self.real[step.outputs[0]] = Real(out, found.how)
        return True


def same(first: Quantization, second: Quantization) -> bool:
    """Say whether two descriptions map the same integers to the same numbers."""
    scales = np.array_equal(first.scale.reshape(-1), second.scale.reshape(-1))
    return scales and np.array_equal(first.zero_point.reshape(-1), second.zero_point.reshape(-1))


# -- rules: each says whether it took the step out -----------------------------------------------------------------

Rule = Callable[[_Unquantizer, Step], bool]


def take_quantize(worker: _Unquantizer, step: Step) -> bool:
    """Take a QuantizeLinear out: its output stands for its float input. Say whether that was done."""
    known = all(name in worker.constants for name in step.inputs[1:] if name)
    if not known or len(step.inputs) < 2 or step.attributes.get("block_size") or step.inputs[0] in worker.constants:
        return False
    how, a = quantization(step, worker.constants), step.attributes
    whole = how.zero_point.dtype.kind in "iu" or how.zero_point.dtype.name in LIMITS
    if not whole or a.get("precision") or (len(step.inputs) < 3 and a.get("output_dtype", 2) != 2):
        return False
    worker.quantize(step.inputs[0], step.outputs[0], how)
    return True


def take_dequantize(worker: _Unquantizer, step: Step) -> bool:
    """Take a DequantizeLinear out: its output is the float that its integers stand for. Say whether that was done."""
    if len(step.inputs) < 2 or not all(name in worker.constants for name in step.inputs[1:] if name):
        return False
    found, how = worker.real.get(step.inputs[0]), quantization(step, worker.constants)
    if found is not None and len(step.inputs) < 3:
        how = replace(how, zero_point=np.zeros((), found.how.zero_point.dtype))
    if found is not None:
        if not same(found.how, how):
            return False
        worker.alias[step.outputs[0]] = found.name
        return True
    maker = worker.makers.get(step.inputs[0])
    table = worker.constants.get(maker.inputs[0]) if maker is not None and maker.op == "Gather" else None
    if maker is None or not is_host(table) or how.scale.size != 1:
        return False
    point = how.zero_point if len(step.inputs) > 2 else np.zeros((), table.dtype)
    how = replace(how, dtype=table.dtype.name, zero_point=point)
    numbers = dequantized(table, how.scale, point, 0)
    name = worker.constant(f"{maker.inputs[0]}.float", numbers, maker.inputs[0], how)
    worker.emit(replace(maker, inputs=[name, *maker.inputs[1:]], outputs=list(step.outputs)))
    return True


def take_operator(worker: _Unquantizer, step: Step) -> bool:
    """Put the float operator in place of a quantised one."""
    form = FORMS[step.op]
    operands = form.operands or tuple((i, i + 1, i + 2) for i in range(2, len(step.inputs), 3))
    axes = [1] + [weight_axis(form.op, step)] * (len(operands) - 1)
    scale, zero = (step.inputs[i] if i < len(step.inputs) else "" for i in form.result)
    if scale not in worker.constants or zero not in worker.constants or step.attributes.get("channels_last"):
        return False
    names = [worker.operand(step, places, axis) for places, axis in zip(operands, axes)]
    if any(name is None for name in names) or all(name in worker.constants for name in names):
        return False
    inputs = [*(step.inputs[i] for i in form.plain), *(name for name in names if name)]
    bias = step.inputs[form.bias] if 0 <= form.bias < len(step.inputs) else ""
    if bias:
        if bias not in worker.constants:
            return False
        size = worker.constants[step.inputs[1]] * worker.constants[step.inputs[4]]
        number = (worker.constants[bias].astype(np.float64) * size.astype(np.float64)).astype(size.dtype)
        inputs.append(worker.constant(f"{bias}.float", number, bias))
    attributes = {k: v for k, v in step.attributes.items() if k not in ("opset", "channels_last")}
    out, version = worker.fresh(f"{step.outputs[0]}.float"), step.attributes.get("opset", step.opset)
    worker.emit(Step(form.op, step.name, inputs, [out], attributes, version, scope=step.scope))
    point = worker.constants[zero]
    worker.quantize(out, step.outputs[0], Quantization(point.dtype.name, worker.constants[scale], point))
    return True


def weight_axis(op: str, step: Step) -> int:
    """Return the axis of a weight along which scales may differ: that of its outputs."""
    return {"Conv": 0, "MatMul": -1, "Gemm": 0 if step.attributes.get("transB") else 1}.get(op, 1)


def take_packed(worker: _Unquantizer, step: Step) -> bool:
    """Put a matrix product in place of one with packed blocks."""
    if any(name and name not in worker.constants for name in step.inputs[1:4]) or len(step.inputs) < 3:
        return False
    if len(step.inputs) > 4 and step.inputs[4]:
        raise NotRead(f"{step.where}: an order of groups (g_idx) is not read.")
    packed, scales = (worker.constants[name] for name in step.inputs[1:3])
    zeros = worker.constants.get(step.inputs[3]) if len(step.inputs) > 3 else None
    matrix, how = unpacked(step, packed, scales, zeros)
    weight = worker.constant(f"{step.inputs[1]}.float", matrix.T, step.inputs[1], how)
    added = len(step.inputs) > 5 and step.inputs[5]
    out = worker.fresh(f"{step.outputs[0]}.product") if added else step.outputs[0]
    worker.emit(Step("MatMul", step.name, [step.inputs[0], weight], [out], scope=step.scope))
    if added:
        worker.emit(Step("Add", f"{step.name}.bias", [out, step.inputs[5]], list(step.outputs)))
    return True


def unpacked(step: Step, packed: Array, scales: Array, zeros: Array | None) -> tuple[Array, Quantization]:
    """Return the matrix (N, K) of blocks of `bits` along K, and how it was stored."""
    a = step.attributes
    bits, block, rows, columns = a.get("bits", 4), a["block_size"], a["N"], a["K"]
    if bits not in (2, 4, 8) or packed.dtype != np.uint8 or min(block, rows, columns) < 1:
        raise NotRead(f"{step.where}: {bits} bits in blocks of {block} are not read.")
    blocks = -(-columns // block)
    if packed.size * 8 != rows * blocks * block * bits or scales.size != rows * blocks:
        raise LiftError(f"{step.where}: {packed.size} bytes and {scales.size} scales do not make {rows} x {columns}.")
    whole = _fields(packed.reshape(rows, -1), bits)[:, : blocks * block].reshape(rows, blocks, block)
    scale = scales.reshape(rows, blocks)
    if zeros is None:
        point = np.full((rows, blocks), 1 << (bits - 1), np.uint8)
    elif zeros.dtype == np.uint8:
        point = _fields(zeros.reshape(rows, -1), bits)[:, :blocks]
    else:
        point = zeros.reshape(rows, blocks)
    numbers = (whole.astype(np.float32) - point.astype(np.float32)[..., None]) * scale.astype(np.float32)[..., None]
    matrix = numbers.reshape(rows, -1)[:, :columns].astype(scales.dtype)
    return matrix, Quantization(f"uint{bits}", scale, point, 1, block)


def _fields(packed: Array, bits: int) -> Array:
    """Return the numbers in bytes, the lowest bits first: (rows, n) to (rows, n x 8 / bits)."""
    parts = [(packed >> np.uint8(shift)) & np.uint8((1 << bits) - 1) for shift in range(0, 8, bits)]
    found: Array = np.stack(parts, -1).reshape(packed.shape[0], -1)
    return found


RULES: dict[str, Rule] = {
    "QuantizeLinear": take_quantize,
    "DequantizeLinear": take_dequantize,
    "com.microsoft.MatMulNBits": take_packed,
    **dict.fromkeys(FORMS, take_operator),
}
