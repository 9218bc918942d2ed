"""Rows of the operators that move elements about: reshape, concatenate, split, pad, create."""

from __future__ import annotations

import numpy as np
import torch
from torch import fx

from whet.graph.rows import Call, Edit, Row, Value


def reshape(call: Call) -> Value:
    """A reshape; an output size that the graph computes may be cut only if it is the sole such one."""
    sizes = call.get("size", call.get("shape"))
    out = call.labels.reshape(call.first, call.shape)
    computed = [i for i, size in enumerate(sizes or ()) if isinstance(size, fx.Node)]
    movable = [i for i in computed if not call.labels.frozen(out[i])]
    if len(movable) > 1 or (movable and any(isinstance(size, int) and size == -1 for size in sizes)):
        call.labels.freeze(*[out[i] for i in movable])
    return out


def reshape_like(call: Call) -> Value:
    """A reshape to the shape of another tensor, which is to lose what this one loses."""
    out = call.labels.reshape(call.first, call.shape)
    return [call.labels.unify(a, b) for a, b in zip(out, call.dims("other"), strict=True)]


def unflatten(call: Call) -> Value:
    """One dimension split into several."""
    return call.labels.reshape(call.first, call.shape)


def set_size(edit: Edit) -> None:
    """Write the sizes that are left."""
    name = next(n for n in ("size", "shape") if n in edit)
    edit.set_sizes(name, edit.out)


def set_unflattened(edit: Edit) -> None:
    """Write the sizes that are left of the dimensions that were split."""
    start = edit["dim"] % len(edit.first)
    edit.set_sizes("sizes", edit.out[start : start + len(edit["sizes"])])


def permute(call: Call) -> Value:
    """Dimensions in another order."""
    return [call.first[d] for d in call["dims"]]


def transpose(call: Call) -> Value:
    """Two dimensions exchanged, by default the last two."""
    out = list(call.first)
    a, b = (call["dim0"], call["dim1"]) if "dim0" in call else (-2, -1)
    if len(out) > 1:
        out[a], out[b] = out[b], out[a]
    return out


def movedim(call: Call) -> Value:
    """Dimensions moved to other places, the others in their order."""
    rank = len(call.first)
    source, target = ([v] if isinstance(v, int) else list(v) for v in (call["source"], call["destination"]))
    order = [d for d in range(rank) if d not in {s % rank for s in source}]
    for t, s in sorted((t % rank, s % rank) for t, s in zip(target, source, strict=True)):
        order.insert(t, s)
    return [call.first[d] for d in order]


def unsqueeze(call: Call) -> Value:
    """A new dimension of one element, which is frozen."""
    out = list(call.first)
    out.insert(call["dim"] % (len(out) + 1), call.zeros(1))
    return out


def squeeze(call: Call) -> Value:
    """Without `dim` every size-one dimension goes, and a cut must not make another one."""
    x, given = call.first, call.get("dim")
    chosen = range(len(x)) if given is None else [given] if isinstance(given, int) else given
    gone = {d % len(x) for d in chosen if len(x[d]) == 1}
    call.labels.freeze(*[x[d] for d in chosen if len(x[d]) > 1])
    return [d for i, d in enumerate(x) if i not in gone]


def expand(call: Call) -> Value:
    """A stretched dimension holds copies: each is a fresh leaf, unless the graph computes their number."""
    x, sizes = call.first, call.get("size")
    padded = [call.zeros(1)] * (len(call.shape) - len(x)) + list(x)
    out = []
    for i, (dim, size) in enumerate(zip(padded, call.shape, strict=True)):
        literal = sizes is not None and isinstance(sizes[i], int)
        out.append(dim if len(dim) == size else call.labels.fresh(size) if literal else call.zeros(size))
    return out


def repeat(call: Call) -> Value:
    """Copies along each dimension: those of more than one element repeat its labels, others are fresh."""
    repeats, out = call["repeats"], []
    padded = [call.zeros(1)] * (len(repeats) - len(call.first)) + list(call.first)
    for dim, times, size in zip(padded, repeats, call.shape, strict=True):
        if len(dim) > 1:
            out.append(np.tile(dim, size // len(dim)))
        else:
            out.append(call.labels.fresh(size) if isinstance(times, int) else call.zeros(size))
    return out


def set_repeats(edit: Edit) -> None:
    """Write how many copies are left of dimensions of one element."""
    repeats, x = list(edit["repeats"]), edit.first
    for i, dim in enumerate(edit.out):
        source = i - (len(repeats) - len(x))
        if edit.changed(dim) and (source < 0 or len(x[source]) == 1):
            repeats[i] = edit.kept(dim)
    edit.set("repeats", repeats)


def repeat_interleave(call: Call) -> Value:
    """Each element of one dimension several times in a row."""
    dim, times = call["dim"], call.get("repeats")
    if dim is None or not isinstance(times, int):
        return call.unknown("only a literal number of repeats along one dimension has a rule")
    out = list(call.first)
    out[dim] = np.repeat(out[dim], times)
    return out


def flip(call: Call) -> Value:
    """Dimensions from back to front."""
    out = list(call.first)
    for d in call["dims"]:
        out[d] = out[d][::-1].copy()
    return out


def concatenate(call: Call) -> Value:
    """Tensors end to end in one dimension; in the others they stand and fall together."""
    parts = [dims for dims in call.list_dims("tensors") if not (len(dims) == 1 and len(dims[0]) == 0)]
    axis = call["dim"] % len(parts[0])
    out = [call.zeros(0) if i == axis else call.labels.unify(*dims) for i, dims in enumerate(zip(*parts, strict=True))]
    out[axis] = np.concatenate([p[axis] for p in parts])
    return out


def stack(call: Call) -> Value:
    """Tensors along a new dimension, which is frozen; in the others they stand and fall together."""
    parts = call.list_dims("tensors")
    out = [call.labels.unify(*dims) for dims in zip(*parts, strict=True)]
    out.insert(call["dim"] % (len(out) + 1), call.zeros(len(parts)))
    return out


def unbind(call: Call) -> Value:
    """A tensor for each element of one dimension, which is frozen."""
    axis = call["dim"] % len(call.first)
    call.labels.freeze(call.first[axis])
    return tuple(call.first[:axis] + call.first[axis + 1 :] for _ in call.out)


def split(call: Call) -> Value:
    """Parts of one dimension, one after the other."""
    axis, parts, start = call["dim"] % len(call.first), [], 0
    for item in call.out:
        size = item.shape[axis]
        parts.append([d if i != axis else d[start : start + size] for i, d in enumerate(call.first)])
        start += size
    return tuple(parts)


def set_split(edit: Edit) -> None:
    """Write the sizes that are left of the parts."""
    axis = edit["dim"]
    if edit.changed(edit.first[axis]):
        edit.node.target = torch.ops.aten.split_with_sizes.default
        sizes = [edit.kept(part[axis]) for part in edit.out]
        edit.node.args, edit.node.kwargs = (edit.node.args[0], sizes, axis), {}


def getitem(call: Call) -> Value:
    """One of several outputs."""
    source = call.value(call["0"])
    return source[call["1"]] if isinstance(source, tuple) else None


def pad(call: Call) -> Value:
    """Constant padding adds fresh leaves, unless the dimension is frozen anyway; negative padding crops."""
    x, amounts = list(call.first), call["pad"]
    for i in range(len(amounts) // 2):
        low, high, axis = amounts[2 * i], amounts[2 * i + 1], len(x) - 1 - i
        literal = isinstance(low, int) and isinstance(high, int)
        if not literal or call.get("mode", "constant") != "constant" or call.labels.frozen(x[axis]):
            call.labels.freeze(x[axis])
            x[axis] = call.zeros(call.shape[axis])
            continue
        inner = x[axis][max(-low, 0) : len(x[axis]) - max(-high, 0)]
        x[axis] = np.concatenate([call.labels.fresh(max(low, 0)), inner, call.labels.fresh(max(high, 0))])
    return x


def set_pad(edit: Edit) -> None:
    """Write how much is left of the padding, or of what is cropped."""
    amounts, rank = list(edit["pad"]), len(edit.out)
    for i in range(len(amounts) // 2):
        low, high, axis = amounts[2 * i], amounts[2 * i + 1], rank - 1 - i
        x, out = edit.first[axis], edit.out[axis]
        if not (edit.changed(out) or edit.changed(x)):
            continue
        amounts[2 * i] = edit.kept(out[:low]) if low > 0 else -edit.kept(x[:-low])
        amounts[2 * i + 1] = edit.kept(out[len(out) - high :]) if high > 0 else -edit.kept(x[len(x) + high :])
    edit.set("pad", amounts)


def create(call: Call) -> Value:
    """A constant of literal sizes is as long as what it meets: fresh leaves."""
    sizes = call.get("size") or ()
    made = zip(sizes, call.shape, strict=True)
    return [call.labels.fresh(n) if isinstance(size, int) else call.zeros(n) for size, n in made]


def triangle(call: Call) -> Value:
    """The upper or lower triangle: which elements it holds depends on both dimensions, so they are frozen."""
    call.labels.freeze(*call.first[-2:])
    return call.first


def pixel_unshuffle(call: Call) -> Value:
    """Every channel becomes factor^2 in a row."""
    x, factor = call.first, call["downscale_factor"] ** 2
    call.labels.freeze(*x[-2:])
    return [*x[:-3], np.repeat(x[-3], factor), *call.opaque(len(x) - 2)]


def pixel_shuffle(call: Call) -> Value:
    """(..., C x factor^2, H, W) to (..., C, H x factor, W x factor): a channel falls with all its factor^2 parts."""
    x, factor = call.first, call["upscale_factor"] ** 2
    channel, inner = call.labels.reshape([x[-3]], (len(x[-3]) // factor, factor))
    call.labels.freeze(inner, *x[-2:])
    return [*x[:-3], channel, *call.opaque(len(x) - 2)]


def channel_shuffle(call: Call) -> Value:
    """Channels (groups, rest) to (rest, groups): channels fall in whole groups."""
    x, groups = call.first, call["groups"]
    group, inner = call.labels.reshape([x[1]], (groups, len(x[1]) // groups))
    return [x[0], *call.labels.reshape([inner, group], (len(x[1]),)), *x[2:]]


def set_shuffled(edit: Edit) -> None:
    """Write how many groups are left."""
    edit.set("groups", edit.kept_groups(edit.first[1], edit["groups"]))


SHAPE_ROWS: dict[str, Row] = {
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "_reshape_alias"), Row(reshape, set_size)),
    "flatten": Row(reshape),
    **dict.fromkeys(("view_as", "reshape_as"), Row(reshape_like)),
    "unflatten": Row(unflatten, set_unflattened),
    "permute": Row(permute),
    **dict.fromkeys(("transpose", "t", "numpy_T", "mT", "swapaxes"), Row(transpose)),
    "movedim": Row(movedim),
    "unsqueeze": Row(unsqueeze),
    "squeeze": Row(squeeze),
    "expand": Row(expand, set_size),
    "repeat": Row(repeat, set_repeats),
    "repeat_interleave": Row(repeat_interleave),
    "flip": Row(flip),
    "cat": Row(concatenate),
    "concat": Row(concatenate),
    "stack": Row(stack),
    "unbind": Row(unbind),
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), Row(split, set_split)),
    "getitem": Row(getitem),
    **dict.fromkeys(("pad", "constant_pad_nd"), Row(pad, set_pad)),
    **dict.fromkeys(
        ("full", "zeros", "ones", "empty", "rand", "randn", "new_zeros", "new_ones", "new_full", "new_empty"),
        Row(create, set_size),
    ),
    **dict.fromkeys(("tril", "triu"), Row(triangle)),
    "pixel_shuffle": Row(pixel_shuffle),
    "pixel_unshuffle": Row(pixel_unshuffle),
    "channel_shuffle": Row(channel_shuffle, set_shuffled),
}
