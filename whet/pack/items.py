"""Which bytes of an ONNX file are weights, in what form, and of which shape."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import numpy_helper

from whet.core.errors import ArtifactError
from whet.pack.contexts import Layout
from whet.pack.forms import BYTES_FORM, DIGITS, FLOATS_FORM, FORMS, MASK, MASKED, NIBBLES, Options
from whet.pack.protobuf import Tensor

LEAST_WEIGHTS = 256
"""Weights from which a tensor is coded by itself; smaller floats are coded together, other small ones are not."""
LEAST_FLOATS = 4
KINDS: dict[int, tuple[int, Options]] = {
    onnx.TensorProto.INT8: (BYTES_FORM, (128,)),
    onnx.TensorProto.UINT8: (BYTES_FORM, (0,)),
    onnx.TensorProto.INT4: (NIBBLES, (8,)),
    onnx.TensorProto.UINT4: (NIBBLES, (0,)),
    onnx.TensorProto.FLOAT: (FLOATS_FORM, (4, 8)),
    onnx.TensorProto.DOUBLE: (FLOATS_FORM, (8, 11)),
    onnx.TensorProto.FLOAT16: (FLOATS_FORM, (2, 5)),
    onnx.TensorProto.BFLOAT16: (FLOATS_FORM, (2, 8)),
}
"""Form and options by the type of a file's tensor."""
STREAM = re.compile(r"(mask|digits|values)(?:\.(\w+?))?(?:_\d+)?$")
"""What whet calls the tensors that a file takes apart when it is opened (`whet.hardware.onnx_writer`)."""


@dataclass(frozen=True)
class Item:
    """Weights that are coded together: pieces of the file, their form, and the matrices that they are in order."""

    name: str
    form: int
    options: Options
    spans: tuple[tuple[int, int], ...]
    layouts: tuple[Layout, ...]

    @property
    def count(self) -> int:
        """How many symbols there are."""
        return sum(layout.size for layout in self.layouts)

    @property
    def sizes(self) -> list[int]:
        """The bytes of each piece."""
        return [stop - start for start, stop in self.spans]

    def pieces(self, data: bytes) -> list[bytes]:
        """Return the bytes of each piece."""
        return [data[start:stop] for start, stop in self.spans]

    def is_exact(self, data: bytes) -> bool:
        """Say whether the bytes come back from their symbols: zeros that fill up a last byte may be others."""
        form, pieces = FORMS[self.form], self.pieces(data)
        if not form.check(self.options, self.count, self.sizes):
            return False
        return form.join(self.options, form.split(self.options, self.count, pieces), self.sizes) == pieces


def items_of(data: bytes, tensors: Sequence[Tensor], file: str) -> list[Item]:
    """Return what of a file is coded, in the file's order; what comes back exactly and nothing else.

    Matrices of tensors `(out, in, ...)` have a row for each output.

    Raises: ArtifactError for a file that is no ONNX model.
    """
    try:
        graph = onnx.load_model_from_string(data).graph
    except Exception as problem:
        raise ArtifactError(f"'{file}' is no ONNX file: {problem}.") from None
    found = [item for item in _streams(graph, {t.name: t for t in tensors}) if item.is_exact(data)]
    taken = {span for item in found for span in item.spans}
    left = [t for t in tensors if (t.start, t.stop) not in taken and t.kind in KINDS]
    found += [item for t in left if t.numel >= LEAST_WEIGHTS and (item := _whole(t)).is_exact(data)]
    small = [t for t in left if LEAST_FLOATS <= t.numel < LEAST_WEIGHTS]
    for kind, (form, options) in KINDS.items():
        some = [t for t in small if t.kind == kind and t.stop - t.start == t.numel * options[0]]
        if form == FLOATS_FORM and some:
            spans = tuple((t.start, t.stop) for t in some)
            layout = _layout([sum(t.numel for t in some)])
            found.append(Item(f"{len(some)} small tensors", form, options, spans, (layout,)))
    return sorted(found, key=lambda item: item.spans)


def _whole(tensor: Tensor) -> Item:
    form, options = KINDS[tensor.kind]
    return Item(tensor.name, form, options, ((tensor.start, tensor.stop),), (_layout(tensor.dims),))


def _layout(dims: Sequence[int]) -> Layout:
    """Return the matrix that a tensor of such a shape is: `(out, in, ...)`."""
    sides = [int(d) for d in dims]
    while len(sides) > 2 and sides[0] == 1:
        del sides[0]
    if len(sides) < 2:
        return Layout(math.prod(sides), 1)
    return Layout(sides[0], sides[1], math.prod(sides[2:]))


def _streams(graph: Any, tensors: dict[str, Tensor]) -> list[Item]:
    """Return the items of weights that the file takes apart itself: digits, masks, and values of what a mask shows."""
    makers = {name: node for node in graph.node for name in node.output}
    constants = {t.name: t for t in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "Split" and len(node.input) > 1 and node.input[1] in constants:
            shapes = _shapes(graph, node, numpy_helper.to_array(constants[node.input[1]]), constants)
            made = makers.get(node.input[0])
            pieces = list(made.input) if made is not None and made.op_type == "Concat" else [node.input[0]]
            if len(pieces) > 1 and not all(_named(makers, p, tensors) for p in pieces):
                pieces = [node.input[0]]
            if len(pieces) == 1:
                found += _items(_named(makers, pieces[0], tensors), shapes)
            else:
                found += _pieces([_named(makers, piece, tensors) for piece in pieces], shapes)
    return found


def _shapes(graph: Any, split: Any, sizes: Any, constants: dict[str, Any]) -> list[Layout]:
    """Return the shapes of the tensors that a stream is split into."""
    reshaped = {n.input[0]: n.input[1] for n in graph.node if n.op_type == "Reshape"}
    found = []
    for name, size in zip(split.output, sizes.tolist()):
        shape = constants.get(reshaped.get(name, ""))
        dims = [size] if shape is None else numpy_helper.to_array(shape).tolist()
        found.append(_layout(dims if math.prod(dims) == size else [size]))
    return found


def _named(makers: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mask, the digits and the values that a value is made of."""
    found, seen, left = dict[str, Tensor](), set[str](), [name]
    while left:
        name = left.pop()
        if name in tensors and (match := STREAM.match(name)):
            found[match[1]] = tensors[name]
        if name in makers and name not in seen:
            seen.add(name)
            left += makers[name].input
    return found


def _items(named: dict[str, Tensor], layouts: list[Layout]) -> list[Item]:
    """Return the item, or the two, of one stream: floats and their mask stay apart."""
    stored = named.get("digits") or named.get("values")
    if stored is None:
        return []
    mask, place = named.get("mask"), (stored.start, stored.stop)
    if stored.kind == onnx.TensorProto.FLOAT:
        return [] if mask is None else [Item(mask.name, MASK, (), ((mask.start, mask.stop),), tuple(layouts))]
    form, options = (DIGITS, _digits(stored)) if "digits" in named else KINDS[stored.kind]
    if mask is None:
        return [Item(stored.name, form, options, (place,), tuple(layouts))]
    zero = {DIGITS: 3, BYTES_FORM: 128, NIBBLES: 8}[form]
    options = (form, zero, int(form != DIGITS), *options)
    return [Item(f"{mask.name}, {stored.name}", MASKED, options, ((mask.start, mask.stop), place), tuple(layouts))]


def _digits(stored: Tensor) -> Options:
    """Return levels, digits a word, and bytes a word of a tensor of digits."""
    match = STREAM.match(stored.name)
    levels = int(match[2]) if match is not None and (match[2] or "").isdigit() else 2
    size = 1 if stored.kind == onnx.TensorProto.UINT8 else 4
    each, most = 1, 2**8 if size == 1 else 2**31
    while levels ** (each + 1) <= most:
        each += 1
    return levels, each, size


def _pieces(parts: list[dict[str, Tensor]], layouts: list[Layout]) -> list[Item]:
    """Return the items of a stream in several pieces, all but the last of one length, without the shapes of tensors."""
    from whet.hardware.onnx_writer.digits import PIECE

    total, found = sum(layout.size for layout in layouts), list[Item]()
    for i, named in enumerate(parts):
        found += _items(named, [_layout([min(PIECE, total - i * PIECE)])])
    return found
