"""Elastic resolution: networks that are convolutional up to a global pooling can be fed smaller images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from whet.core.errors import DecisionError
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.axes import MODULES
from whet.graph.fractions import check_fractions
from whet.graph.operators import chosen, pointwise, row_of, same
from whet.graph.rows import bind, operator_name

INPUT = "input"
"""The site of the choice, and of the reason where there is none."""
CHOICE = f"{INPUT}:resolution"
ROWS, COLUMNS = f"{INPUT}_rows", f"{INPUT}_columns"
"""The constants that resize height and width."""

Where = tuple[int, int]
"""The dimensions in which a tensor has height and width."""
Outcome = Where | str | None
"""Where an output has them; why an operator needs a certain size; None if its output no longer depends on them."""
IMAGE: Where = (2, 3)


@dataclass(frozen=True)
class Resolution:
    """Shrink the images that a network sees, where its graph is fully convolutional up to a global pooling.

        x'_i = sum_j w_ij x_j / sum_j w_ij,    w_ij = max(0, 1 - |j + 1/2 - r (i + 1/2)| / r),    r = side / side'

    along height and along width: bilinear, antialiased. Resizing becomes the first operation of the net, so that inputs
    stay as they are, (N, C, H, W), and what resizing costs is measured; a supernet of this pass, alone or in a chain,
    trains each step at the resolution that its schedule draws. Work falls with the square of the fraction.

    `input:resolution` in `fractions`, identity 1.0: a side becomes the multiple of `round_to` pixels that is nearest to
    `fraction * side`. Of fractions that give one size the largest is offered; those whose maps become smaller than a
    kernel are not, and are skipped with the layer's own message when asked for. A network that needs a certain size is
    skipped with the operation that does (`obstacle`).
    Raises: DecisionError for fractions that are no fractions or lack 1, and for a `round_to` below 1.

    Paper: Cai et al. 2020, Once-for-All, which draws an image size for each training batch; its data loader
    rescales the images, here the network does.
    """

    fractions: tuple[float, ...] = (0.5, 0.625, 0.75, 0.875, 1.0)
    round_to: int = 4
    paper = "cai2020ofa"
    traits = Traits("structure", nests=True)

    def __post_init__(self) -> None:
        check_fractions(self.fractions)
        if self.round_to < 1:
            raise DecisionError(f"round_to must be at least 1; got {self.round_to!r}.")

    def space(self, net: Net, target: Target) -> Space:
        """Return one choice, the share of the image's side: those on which every layer runs, none if only one does."""
        if obstacle(net):
            return Space()
        sizes: dict[Where, float] = {}
        for fraction in sorted(self.fractions, reverse=True):
            sizes.setdefault(self.size(_images(net)[0][1], fraction), fraction)
        offered = {f for size, f in sizes.items() if f == 1.0 or not _failure(resized(net, size))}
        values = tuple(f for f in self.fractions if f in offered)
        return Space([Choice(CHOICE, values, 1.0)]) if len(values) > 1 else Space()

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        """Return the net with its images resized to the decided share; where a layer fails on that size, the reason."""
        fraction, reason = float(decision.get(CHOICE, 1.0)), obstacle(net)
        if reason or fraction == 1.0:
            return Result(net.copy(), (), {INPUT: reason} if reason else {})
        native = _images(net)[0][1]
        size = self.size(native, fraction)
        smaller = resized(net, size)
        failure, text = _failure(smaller), f"{size[0]}x{size[1]}"
        if failure:
            return Result(net.copy(), (), {INPUT: f"a layer fails on images of {text}: {failure}"})
        said = {INPUT: f"resized from {native[0]}x{native[1]} to {text}"}
        return Result(smaller, changes("resized", said))

    def size(self, native: Where, fraction: float) -> Where:
        """Return height and width at `fraction` of the native ones; halves round up.

        >>> Resolution().size((32, 32), 0.625), Resolution().size((49, 10), 0.5)
        ((20, 20), (24, 4))
        """
        if fraction == 1.0:
            return native
        step = self.round_to
        height, width = (min(side, step * max(1, int(fraction * side / step + 0.5))) for side in native)
        return height, width


def _images(net: Net) -> list[tuple[fx.Node, Where]]:
    """Return the inputs (N, C, H, W) of floats, each with its height and width."""
    inputs = [node for node in net.graph.nodes if node.op == "placeholder"]
    named = zip(inputs, net.example, strict=True)
    return [(node, (x.shape[2], x.shape[3])) for node, x in named if x.dim() == 4 and x.is_floating_point()]


def resized(net: Net, size: Where) -> Net:
    """Return a copy of `net` that first resizes its one image to `size`, a height and a width.

    As two products with constants, `W_h x W_w^T`: runtimes have resizing operations of their own, each another one.
    """
    smaller = net.copy()
    [(image, native)] = _images(smaller)
    for name, side, wanted in zip((ROWS, COLUMNS), native, size, strict=True):
        smaller.module.register_buffer(name, weights(side, wanted))
    with smaller.graph.inserting_before(next(n for n in smaller.graph.nodes if n.op != "placeholder")):
        rows, columns = smaller.graph.get_attr(ROWS), smaller.graph.get_attr(COLUMNS)
        turned = smaller.graph.call_function(torch.ops.aten.t.default, (columns,))
        shorter = smaller.graph.call_function(torch.ops.aten.matmul.default, (rows, image))
        small = smaller.graph.call_function(torch.ops.aten.matmul.default, (shorter, turned))
    image.replace_all_uses_with(small, delete_user_cb=lambda user: user is not shorter)
    return smaller.settle()


def weights(side: int, wanted: int) -> Tensor:
    """Return the matrix, shape (wanted, side), that resizes `side` pixels to `wanted`, bilinear and antialiased.

    >>> weights(4, 2)[0].tolist()  # doctest: +ELLIPSIS
    [0.42..., 0.42..., 0.14..., 0.0]
    """
    unit = torch.eye(side)[None, None]
    return functional.interpolate(unit, (wanted, side), mode="bilinear", antialias=True)[0, 0]


def _failure(net: Net) -> str:
    """Return the first line of the error that ends a run of the net's example, nothing if it runs."""
    try:
        net.forward_shapes()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


def obstacle(net: Net) -> str:
    """Return why a net is not fully convolutional up to a global pooling, nothing if it is.

    The dimensions of height and width are followed through the graph by `RULES`, one an operator, until a pooling over
    both takes them away; what has no rule, or needs a certain size by its rule, is in the way.
    """
    images = _images(net)
    if len(images) != 1:
        found = ", ".join(str(tuple(x.shape)) for x in net.example)
        return f"it has not exactly one input (N, C, H, W) of floats; its inputs are {found}."
    shapes, where = net.forward_shapes(), {images[0][0]: IMAGE}
    for node in net.graph.nodes:
        maps = [i for i in node.all_input_nodes if i in where]
        if maps and node.op == "output":
            return "its output is a map: no global pooling comes before it."
        outcome = _outcome(net, node, maps, where, shapes) if maps else None
        if isinstance(outcome, str):
            return f"'{node.name}' {outcome}"
        if outcome is not None:
            where[node] = outcome
    return ""


@dataclass(frozen=True)
class _Use:
    """A node that reads maps: its arguments by name, the maps' shape, where they lie, shapes of what else it reads."""

    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    where: Where
    others: Sequence[tuple[int, ...]]

    def dims(self, name: str) -> list[int]:
        rank = len(self.shape)
        return [d % rank for d in chosen(self.arguments.get(name), rank)]


def _outcome(
    net: Net, node: fx.Node, maps: Sequence[fx.Node], where: Mapping[fx.Node, Where], shapes: Mapping[str, Any]
) -> Outcome:
    shape, place = shapes[maps[0].name], where[maps[0]]
    if any(where[m] != place or len(shapes[m.name]) != len(shape) for m in maps):
        return "reads maps whose height and width lie in different dimensions."
    if node.op == "call_module":
        layer = net.layer(str(node.target))
        name, attributes = MODULES.get(type(layer), (type(layer).__name__, ()))
        arguments, elementwise = {a: getattr(layer, a, None) for a in attributes}, name == "dropout"
    else:
        name, row, arguments = operator_name(node.target), row_of(node.target), bind(node)
        elementwise = row is not None and row.rule in (pointwise, same)
    rule = _elementwise if elementwise else RULES.get(name)
    if rule is None:
        return f"({name}) is no operation that works at any height and width."
    others = [shapes[i.name] for i in node.all_input_nodes if i not in where and i.name in shapes]
    outcome = rule(_Use(arguments, shape, place, others))
    return f"({name}) {outcome}" if isinstance(outcome, str) else outcome


def _elementwise(use: _Use) -> Outcome:
    rank = len(use.shape)
    for shape in use.others:
        beside = [shape[p - rank] for p in use.where if rank - p <= len(shape)]
        if len(shape) > rank or any(size > 1 for size in beside):
            return f"combines the map with a tensor of the fixed shape {shape}."
    return use.where


def _spatial(use: _Use) -> Outcome:
    return use.where if use.where == IMAGE else "takes height and width in dimensions 2 and 3 alone."


def _pooled(use: _Use) -> Outcome:
    return None if use.where == IMAGE else _spatial(use)


def _featurewise(use: _Use) -> Outcome:
    count = len(use.arguments.get("normalized_shape") or (0,))
    mixed = {len(use.shape) - 1 - i for i in range(count)} & set(use.where)
    return "has weights for each position." if mixed else use.where


def _reduced(use: _Use) -> Outcome:
    over = set(use.dims("dim"))
    gone = over & set(use.where)
    if gone:
        return None if len(gone) == 2 else "pools over height or width alone."
    kept = bool(use.arguments.get("keepdim"))
    height, width = (p - (0 if kept else sum(d < p for d in over)) for p in use.where)
    return height, width


def _sliced(use: _Use) -> Outcome:
    (axis,), start, end = use.dims("dim"), use.arguments["start"], use.arguments["end"]
    relative = start is None or (isinstance(start, int) and start >= 0)
    relative = relative and (end is None or (isinstance(end, int) and (end < 0 or end >= use.shape[axis])))
    return use.where if relative or axis not in use.where else "cuts the map at a fixed position."


def _permuted(use: _Use) -> Outcome:
    order = use.dims("dims")  # all in their order where there is no such argument
    if "dim0" in use.arguments:
        (a,), (b,) = use.dims("dim0"), use.dims("dim1")
        order[a], order[b] = b, a
    return order.index(use.where[0]), order.index(use.where[1])


def _joined(use: _Use) -> Outcome:
    apart = not use.others and not set(use.dims("dim")) & set(use.where)
    return use.where if apart else "joins the map with something else along height or width."


def _measured(use: _Use) -> Outcome:
    return "reads the size of the map." if set(use.dims("dim")) & set(use.where) else None


RULES: dict[str, Callable[[_Use], Outcome]] = {
    **dict.fromkeys(("conv2d", "conv_transpose2d", "avg_pool2d", "max_pool2d"), _spatial),
    **dict.fromkeys(("batch_norm", "instance_norm", "group_norm"), _spatial),
    **dict.fromkeys(("linear", "layer_norm", "rms_norm"), _featurewise),
    **dict.fromkeys(("mean", "amax"), _reduced),
    **dict.fromkeys(("permute", "transpose"), _permuted),
    **dict.fromkeys(("pad", "constant_pad_nd"), _elementwise),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _pooled),
    "slice": _sliced,
    "cat": _joined,
    "sym_size": _measured,
}
"""Where height and width are after an operator; those that work element by element have `_elementwise`."""
