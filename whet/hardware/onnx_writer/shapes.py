"""Rows of operators that move, cut and join tensors without computing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from whet.graph.layers import Args
from whet.hardware.onnx_writer.elementwise import Rule
from whet.hardware.onnx_writer.writer import DTYPES, Names, Unwritten, Writer

LAST = 2**63 - 1


def _reshape(w: Writer, n: fx.Node, a: Args) -> Names:
    sizes = a.get("size", a.get("shape"))
    return w.reshaped(w.name(a["self"]), n, a["self"], sizes if isinstance(sizes, list | tuple) else None)


def _dims(rank: int, dims: Sequence[int]) -> list[int]:
    return [int(d) % rank for d in dims]


def _permute(w: Writer, n: fx.Node, a: Args) -> Names:
    return w.emit("Transpose", [w.name(a["self"])], n.name, perm=_dims(w.rank(n), a["dims"]))


def _swapped(w: Writer, n: fx.Node, a: Args) -> Names:
    rank = w.rank(n)
    if rank < 2:
        return w.name(a["self"])
    one, other = _dims(rank, [a.get("dim0", 0), a.get("dim1", 1)])
    order = list(range(rank))
    order[one], order[other] = other, one
    return w.emit("Transpose", [w.name(a["self"])], n.name, perm=order)


def _moved(w: Writer, n: fx.Node, a: Args) -> Names:
    rank = w.rank(n)
    source, place = ([v] if isinstance(v, int) else list(v) for v in (a["source"], a["destination"]))
    order: list[int | None] = [None] * rank
    for s, d in zip(_dims(rank, source), _dims(rank, place), strict=True):
        order[d] = s
    rest = iter(i for i in range(rank) if i not in order)
    perm = [next(rest) if i is None else i for i in order]
    return w.emit("Transpose", [w.name(a["self"])], n.name, perm=perm)


def _cat(w: Writer, n: fx.Node, a: Args) -> Names:
    parts = [t for t in a["tensors"] if not isinstance(t, fx.Node) or w.dims(t) != [0]]
    return w.emit("Concat", [w.name(t, w.dtype(n)) for t in parts], n.name, axis=int(a["dim"]) % w.rank(n))


def _stack(w: Writer, n: fx.Node, a: Args) -> Names:
    axis = int(a["dim"]) % w.rank(n)
    parts = [w.emit("Unsqueeze", [w.name(t, w.dtype(n)), w.vector([axis])]) for t in a["tensors"]]
    return w.emit("Concat", parts, n.name, axis=axis)


def _pieces(w: Writer, n: fx.Node, a: Args) -> Names:
    """Write a split into pieces of the lengths that the network itself made."""
    axis = int(a["dim"]) % w.rank(a["self"])
    first, second = ([t.shape[axis] for t in run] for run in w.trace.values[n])
    if first != second:
        raise Unwritten("a split along a free length")
    if len(first) == 1:
        return (w.name(a["self"]),)
    names = [f"{n.name}_{i}" for i in range(len(first))]
    return w.emit_several("Split", [w.name(a["self"]), w.vector(first)], names, axis=axis)


def _unbind(w: Writer, n: fx.Node, a: Args) -> Names:
    axis, source = int(a["dim"]) % w.rank(a["self"]), w.name(a["self"])
    count = w.dims(a["self"])[axis]
    if count is None:
        raise Unwritten("rows of a free number")
    at = [w.constant(torch.tensor(i)) for i in range(count)]
    return tuple(w.emit("Gather", [source, i], n.name, axis=axis) for i in at)


def _slice(w: Writer, n: fx.Node, a: Args) -> Names:
    source, dim = a["self"], int(a["dim"]) % w.rank(n)
    shapes = [tuple(v.shape) for v in w.trace.values[source]], [tuple(v.shape) for v in w.trace.values[n]]
    if shapes[0] == shapes[1] and a["step"] == 1:
        return w.name(source)
    start, end = (0 if a["start"] is None else a["start"]), (LAST if a["end"] is None else a["end"])
    ends = [w.length(start), w.length(end), w.vector([dim]), w.vector([a["step"]])]
    return w.emit("Slice", [w.name(source), *ends], n.name)


def _narrow(w: Writer, n: fx.Node, a: Args) -> Names:
    start, length = w.fixed(a["start"]), w.fixed(a["length"])
    return _slice(w, n, {**a, "start": start, "end": start + length, "step": 1})


def _select(w: Writer, n: fx.Node, a: Args) -> Names:
    axis = int(a["dim"]) % (w.rank(n) + 1)
    return w.emit("Gather", [w.name(a["self"]), w.name(a["index"], torch.int64)], n.name, axis=axis)


def _index(w: Writer, n: fx.Node, a: Args) -> Names:
    """Write `x[..., i, ...]` with one tensor of places, and `x[i, j]` with several that are broadcast together."""
    given = [(d, i) for d, i in enumerate(a["indices"]) if i is not None]
    if any(w.dtype(i) == torch.bool for _, i in given):
        raise Unwritten("an index of truth values")
    if len(given) == 1:
        dim, at = given[0]
        return w.emit("Gather", [w.name(a["self"]), w.name(at, torch.int64)], n.name, axis=dim)
    if [d for d, _ in given] != list(range(len(given))):
        raise Unwritten("several indices that do not come first")
    names = [w.name(i, torch.int64) for _, i in given]
    total = names[0]
    for name in names[1:]:
        total = w.emit("Add", [total, name])
    nothing = w.emit("Mul", [total, w.name(0, torch.int64)])  # of the shape that all have together
    places = [w.emit("Unsqueeze", [w.emit("Add", [name, nothing]), w.vector([-1])]) for name in names]
    return w.emit("GatherND", [w.name(a["self"]), w.emit("Concat", places, axis=-1)], n.name)


def _index_select(w: Writer, n: fx.Node, a: Args) -> Names:
    return w.emit("Gather", [w.name(a["self"]), w.name(a["index"], torch.int64)], n.name, axis=int(a["dim"]))


def _gather(w: Writer, n: fx.Node, a: Args) -> Names:
    places = w.name(a["index"], torch.int64)
    return w.emit("GatherElements", [w.name(a["self"]), places], n.name, axis=int(a["dim"]))


def _expand(w: Writer, n: fx.Node, a: Args) -> Names:
    """Write a broadcast: a length that was there, or was asked to be kept, is broadcast with one."""
    source, sizes = a["self"], a.get("size")
    old, new = ([tuple(v.shape) for v in w.trace.values[x]] for x in (source, n))
    if old == new:
        return w.name(source)
    if not isinstance(sizes, list | tuple):  # expand_as
        like = w.emit("Shape", [w.name(a["other"])])
        return w.emit("Expand", [w.name(source), like], n.name)
    lead = w.rank(n) - len(old[0])
    dims = w.dims(n)
    wanted = []
    for i, size in enumerate(sizes):
        kept = i >= lead and all(o[i - lead] == m[i] for o, m in zip(old, new, strict=True))
        wanted.append(1 if kept else dims[i] if dims[i] is not None else size)
    return w.emit("Expand", [w.name(source), w.lengths(wanted)], n.name)


def _repeat(w: Writer, n: fx.Node, a: Args) -> Names:
    times = a["repeats"] if "repeats" in a else a["dims"]
    x, missing = w.name(a["self"]), len(times) - w.rank(a["self"])
    if missing > 0:
        x = w.emit("Unsqueeze", [x, w.vector(range(missing))])
    return w.emit("Tile", [x, w.lengths([1] * -missing + list(times))], n.name)


def _roll(w: Writer, n: fx.Node, a: Args) -> Names:
    x = w.name(a["self"])
    if not a["dims"]:
        raise Unwritten("a roll over all dimensions at once")
    for shift, dim in zip(a["shifts"], a["dims"], strict=True):
        axis = w.vector([dim % w.rank(n)])
        tail = w.emit("Slice", [x, w.vector([-shift]), w.vector([LAST]), axis])
        head = w.emit("Slice", [x, w.vector([0]), w.vector([-shift]), axis])
        x = w.emit("Concat", [tail, head], n.name, axis=dim % w.rank(n))
    return x


def _flip(w: Writer, n: fx.Node, a: Args) -> Names:
    dims = _dims(w.rank(n), a["dims"])
    starts, ends, steps = ([v] * len(dims) for v in (-1, -LAST, -1))
    return w.emit("Slice", [w.name(a["self"]), *map(w.vector, (starts, ends, dims, steps))], n.name)


def _differences(w: Writer, n: fx.Node, a: Args) -> Names:
    """Write each element less the one before it, once, after what is put in front."""
    if a["n"] != 1 or a["append"] is not None:
        raise Unwritten("differences of differences")
    kind, dim = w.dtype(a["self"]), int(a["dim"]) % w.rank(n)
    x = w.name(a["self"])
    if a["prepend"] is not None:
        x = w.emit("Concat", [w.name(a["prepend"], kind), x], axis=dim)
    axis = w.vector([dim])
    later = w.emit("Slice", [x, w.vector([1]), w.vector([LAST]), axis])
    sooner = w.emit("Slice", [x, w.vector([0]), w.vector([-1]), axis])
    return w.emit("Sub", [later, sooner], n.name)


MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def _pad(w: Writer, n: fx.Node, a: Args) -> Names:
    """Write padding: torch lists (begin, end) of the last dimension first, ONNX all begins, then all ends."""
    flat, mode = [int(w.fixed(p)) for p in a["pad"]], a.get("mode", "constant")
    if min(flat) < 0 or mode not in MODES:
        raise Unwritten(f"padding {flat} by '{mode}'")
    rank = w.rank(n)
    begins, ends = [0] * rank, [0] * rank
    for i in range(len(flat) // 2):
        begins[rank - 1 - i], ends[rank - 1 - i] = flat[2 * i], flat[2 * i + 1]
    given = [w.name(a["self"]), w.vector(begins + ends)]
    if mode == "constant":
        given.append(w.name(a.get("value") or 0, w.dtype(n)))
    return w.emit("Pad", given, n.name, mode=MODES[mode])


def _made(value: Any) -> Rule:
    """Return the rule of a tensor of one value whose lengths are free."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        if w.dtype(n) not in DTYPES:
            raise Unwritten(f"a tensor of {w.dtype(n)}")
        number = w.name(value(a), w.dtype(n))
        if "size" in a:
            return w.emit("Expand", [number, w.lengths(a["size"])], n.name)
        return w.emit("Expand", [number, w.emit("Shape", [w.name(a["self"])])], n.name)

    return rule


def _range(w: Writer, n: fx.Node, a: Args) -> Names:
    values = a.get("start", 0), a["end"], a.get("step", 1)
    return w.emit("Range", [w.name(v, w.dtype(n)) for v in values], n.name)


def _triangle(upper: int) -> Rule:
    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        return w.emit("Trilu", [w.name(a["self"]), w.constant(torch.tensor(int(a["diagonal"])))], n.name, upper=upper)

    return rule


def _shuffled(w: Writer, n: fx.Node, a: Args) -> Names:
    return w.emit("DepthToSpace", [w.name(a["self"])], n.name, blocksize=a["upscale_factor"], mode="CRD")


def _item(w: Writer, n: fx.Node, a: Args) -> Names:
    source, at = n.args
    assert isinstance(source, fx.Node) and isinstance(at, int)
    found = w.names[source][at]
    if not found:
        raise Unwritten(f"output {at} of {source.target}")
    return found


def resized(mode: str) -> Rule:
    """Return the rule of a resize: by the factors that were asked for, or else to a size."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        new, factors = w.dims(n)[2:], a.get("scale_factors")
        if None in new:
            raise Unwritten("a resize to a free size")
        corners = bool(a.get("align_corners"))
        place = "asymmetric" if mode == "nearest" else "align_corners" if corners else "pytorch_half_pixel"
        how = {"mode": mode, "coordinate_transformation_mode": place}
        how |= {"nearest_mode": "floor"} if mode == "nearest" else {}
        if factors is not None:
            scales = w.constant(torch.tensor([1.0, 1.0, *(float(f) for f in factors)]))
            return w.emit("Resize", [w.name(a["input"]), "", scales], n.name, **how)
        sizes = [w.emit("Shape", [w.name(a["input"])], start=0, end=2), w.vector([d or 0 for d in new])]
        return w.emit("Resize", [w.name(a["input"]), "", "", w.emit("Concat", sizes, axis=0)], n.name, **how)

    return rule


def _channels_mixed(w: Writer, n: fx.Node, a: Args) -> Names:
    """Write a channel shuffle as a reshape to groups, their transposition and a reshape back."""
    dims, groups = w.dims(n), int(a["groups"])
    if None in dims[1:] or dims[1] is None:
        raise Unwritten("a channel shuffle of a free size")
    rest = [d for d in dims[2:] if d is not None]
    parts = w.emit("Reshape", [w.name(a["self"]), w.vector([-1, groups, dims[1] // groups, *rest])])
    turned = w.emit("Transpose", [parts], perm=[0, 2, 1, *range(3, 3 + len(rest))])
    return w.emit("Reshape", [turned, w.vector([-1, dims[1], *rest])], n.name)


RESHAPES = (
    "view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as",
)  # fmt: skip
ROWS: dict[str, Rule] = {
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys(("transpose", "t", "swapaxes", "swapdims"), _swapped),
    **dict.fromkeys(("cat", "concat"), _cat),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "tensor_split"), _pieces),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), _expand),
    **dict.fromkeys(("repeat", "tile"), _repeat),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), _made(lambda a: 0)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), _made(lambda a: 1)),
    **dict.fromkeys(("full", "full_like", "new_full"), _made(lambda a: a["fill_value"])),
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d"), resized("nearest")),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d"), resized("linear")),
    "mT": lambda w, n, a: _swapped(w, n, {**a, "dim0": -2, "dim1": -1}),
    "permute": _permute,
    "movedim": _moved,
    "stack": _stack,
    "unbind": _unbind,
    "slice": _slice,
    "narrow": _narrow,
    "select": _select,
    "index": _index,
    "index_select": _index_select,
    "gather": _gather,
    "roll": _roll,
    "flip": _flip,
    "diff": _differences,
    "arange": _range,
    "tril": _triangle(0),
    "triu": _triangle(1),
    "pixel_shuffle": _shuffled,
    "getitem": _item,
    "channel_shuffle": _channels_mixed,
}
