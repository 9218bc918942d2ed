"""Rows of the operators that move elements about: reshapes, slices, concatenation, indexing, padding, creation."""

from __future__ import annotations

import numpy as np
import torch
from torch import fx

from whet.core.labels import Dim
from whet.core.rows import Call, Dims, Edit, Row, Value


def reshape(call: Call) -> Value:
    """A reshape; an output size that the graph computes may be cut only if it is the sole such one."""
    sizes = call.get("size", call.get("shape"))
    out = call.labels.reshape(call.first, call.shape)
    computed = [i for i, size in enumerate(sizes or ()) if isinstance(size, fx.Node)]
    movable = [i for i in computed if not call.labels.frozen(out[i])]
    if len(movable) > 1 or (movable and any(isinstance(size, int) and size == -1 for size in sizes)):
        call.labels.freeze(*[out[i] for i in movable])
    return out


def unflatten(call: Call) -> Value:
    return call.labels.reshape(call.first, call.shape)


def set_size(edit: Edit) -> None:
    name = next(n for n in ("size", "shape") if n in edit)
    edit.set_sizes(name, edit.out)


def set_unflattened(edit: Edit) -> None:
    start = edit["dim"] % len(edit.first)
    edit.set_sizes("sizes", edit.out[start : start + len(edit["sizes"])])


def permute(call: Call) -> Value:
    return [call.first[d] for d in call["dims"]]


def transpose(call: Call) -> Value:
    out = list(call.first)
    a, b = (call["dim0"], call["dim1"]) if "dim0" in call else (-2, -1)
    if len(out) > 1:
        out[a], out[b] = out[b], out[a]
    return out


def movedim(call: Call) -> Value:
    rank = len(call.first)
    source, target = ([v] if isinstance(v, int) else list(v) for v in (call["source"], call["destination"]))
    order = [d for d in range(rank) if d not in {s % rank for s in source}]
    for t, s in sorted((t % rank, s % rank) for t, s in zip(target, source, strict=True)):
        order.insert(t, s)
    return [call.first[d] for d in order]


def unsqueeze(call: Call) -> Value:
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
    repeats, out = call["repeats"], []
    padded = [call.zeros(1)] * (len(repeats) - len(call.first)) + list(call.first)
    for dim, times, size in zip(padded, repeats, call.shape, strict=True):
        if len(dim) > 1:
            out.append(np.tile(dim, size // len(dim)))
        else:
            out.append(call.labels.fresh(size) if isinstance(times, int) else call.zeros(size))
    return out


def set_repeats(edit: Edit) -> None:
    repeats, x = list(edit["repeats"]), edit.first
    for i, dim in enumerate(edit.out):
        source = i - (len(repeats) - len(x))
        if edit.changed(dim) and (source < 0 or len(x[source]) == 1):
            repeats[i] = edit.kept(dim)
    edit.set("repeats", repeats)


def repeat_interleave(call: Call) -> Value:
    dim, times = call["dim"], call.get("repeats")
    if dim is None or not isinstance(times, int):
        return call.unknown("only a literal number of repeats along one dimension has a rule")
    out = list(call.first)
    out[dim] = np.repeat(out[dim], times)
    return out


def flip(call: Call) -> Value:
    out = list(call.first)
    for d in call["dims"]:
        out[d] = out[d][::-1].copy()
    return out


def concatenate(call: Call) -> Value:
    parts = [dims for dims in call.list_dims("tensors") if not (len(dims) == 1 and len(dims[0]) == 0)]
    axis = call["dim"] % len(parts[0])
    out = [call.labels.unify(*[p[i] for p in parts]) if i != axis else call.zeros(0) for i in range(len(parts[0]))]
    out[axis] = np.concatenate([p[axis] for p in parts])
    return out


def stack(call: Call) -> Value:
    parts = call.list_dims("tensors")
    out = [call.labels.unify(*dims) for dims in zip(*parts, strict=True)]
    out.insert(call["dim"] % (len(out) + 1), call.zeros(len(parts)))
    return out


def bounds(bound: Call | Edit, dim: Dim) -> slice:
    """Return the literal bounds of a slice along `dim`."""
    return slice(bound["start"], bound["end"], bound["step"])


def slice_(call: Call) -> Value:
    out, axis = list(call.first), call["dim"]
    if all(v is None or isinstance(v, int) for v in (call["start"], call["end"], call["step"])):
        out[axis] = out[axis][bounds(call, out[axis])]
    else:
        call.labels.freeze(out[axis])
        out[axis] = call.zeros(call.shape[axis])
    return out


def narrow(call: Call) -> Value:
    out, axis = list(call.first), call["dim"]
    if isinstance(call["start"], int):
        out[axis] = out[axis][call["start"] :][: call.shape[axis]]
    else:
        call.labels.freeze(out[axis])
        out[axis] = call.zeros(call.shape[axis])
    return out


def left_over(edit: Edit, dim: Dim, chosen: np.ndarray) -> np.ndarray:
    """Return where the `chosen` positions that stay lie among all positions of `dim` that stay."""
    mask = edit.mask(dim)
    return (np.cumsum(mask) - 1)[chosen[mask[chosen]]]


def index_by(edit: Edit, axis: int, positions: np.ndarray) -> None:
    """Turn the node into an `index_select` by a constant."""
    index = edit.constant(edit.node.name, torch.from_numpy(positions.astype(np.int64)))
    edit.node.target = torch.ops.aten.index_select.default
    edit.node.args, edit.node.kwargs = (edit.node.args[0], axis, index), {}


def set_slice(edit: Edit) -> None:
    axis = edit["dim"]
    dim = edit.first[axis]
    if not edit.changed(dim):
        return
    positions = left_over(edit, dim, np.arange(len(dim))[bounds(edit, dim)])
    steps = np.unique(np.diff(positions))
    if len(steps) > 1 or not len(positions):
        index_by(edit, axis, positions)
        return
    step = int(steps[0]) if len(steps) else 1
    edit.node.args = (edit.node.args[0], axis, int(positions[0]), int(positions[-1]) + 1, step)
    edit.node.kwargs = {}


def set_narrow(edit: Edit) -> None:
    dim = edit.first[edit["dim"]]
    edit.set("start", edit.kept(dim[: edit["start"] % len(dim)]))
    edit.set("length", edit.kept(edit.out[edit["dim"]]))


def select(call: Call) -> Value:
    """The selected element must stay, the others are free."""
    x, axis, index = call.first, call["dim"] % len(call.first), call["index"]
    call.labels.freeze(x[axis] if not isinstance(index, int) else x[axis][index : index + 1 or None])
    return x[:axis] + x[axis + 1 :]


def set_selected(edit: Edit) -> None:
    dim = edit.first[edit["dim"]]
    if edit.changed(dim):
        edit.set("index", edit.kept(dim[: edit["index"] % len(dim)]))


def unbind(call: Call) -> Value:
    axis = call["dim"] % len(call.first)
    call.labels.freeze(call.first[axis])
    return tuple(call.first[:axis] + call.first[axis + 1 :] for _ in call.out)


def split(call: Call) -> Value:
    axis, parts, start = call["dim"] % len(call.first), [], 0
    for item in call.out:
        size = item.shape[axis]
        parts.append([d if i != axis else d[start : start + size] for i, d in enumerate(call.first)])
        start += size
    return tuple(parts)


def set_split(edit: Edit) -> None:
    axis = edit["dim"]
    if edit.changed(edit.first[axis]):
        edit.node.target = torch.ops.aten.split_with_sizes.default
        sizes = [edit.kept(part[axis]) for part in edit.out]
        edit.node.args, edit.node.kwargs = (edit.node.args[0], sizes, axis), {}


def getitem(call: Call) -> Value:
    source = call.value(call["0"])
    return source[call["1"]] if isinstance(source, tuple) else None


def pad(call: Call) -> Value:
    """Constant padding adds fresh leaves, unless the dimension is frozen anyway; negative padding crops."""
    x, amounts = list(call.first), call["pad"]
    for i in range(len(amounts) // 2):
        low, high, axis = amounts[2 * i], amounts[2 * i + 1], len(x) - 1 - i
        literal = isinstance(low, int) and isinstance(high, int) and call.get("mode", "constant") == "constant"
        if not literal or call.labels.frozen(x[axis]):
            call.labels.freeze(x[axis])
            x[axis] = call.zeros(call.shape[axis])
            continue
        inner = x[axis][max(-low, 0) : len(x[axis]) - max(-high, 0)]
        x[axis] = np.concatenate([call.labels.fresh(max(low, 0)), inner, call.labels.fresh(max(high, 0))])
    return x


def set_pad(edit: Edit) -> None:
    amounts, rank = list(edit["pad"]), len(edit.out)
    for i in range(len(amounts) // 2):
        low, high, axis = amounts[2 * i], amounts[2 * i + 1], rank - 1 - i
        x, out = edit.first[axis], edit.out[axis]
        if not (edit.changed(out) or edit.changed(x)):
            continue
        amounts[2 * i] = edit.kept(out[:low]) if low > 0 else -edit.kept(x[:-low])
        amounts[2 * i + 1] = edit.kept(out[len(out) - high :]) if high > 0 else -edit.kept(x[len(x) + high :])
    edit.set("pad", amounts)


def index_select(call: Call) -> Value:
    out, axis = list(call.first), call["dim"]
    out[axis] = taken(call, out[axis], call["index"])[0]
    return out


def taken(call: Call, dim: Dim, index: fx.Node) -> Dims:
    """Return the labels of `dim` indexed by `index`: only a constant vector of indices is followed."""
    constant = constant_of(call.node.graph.owning_module, index)
    if constant is None or constant.ndim != 1 or constant.dtype == torch.bool or call.labels.frozen(dim):
        call.labels.freeze(dim, *call.value(index))
        return [call.zeros(len(d)) for d in call.value(index)]
    return [dim[constant.numpy()]]


def constant_of(module: fx.GraphModule | None, index: object) -> torch.Tensor | None:
    """Return the tensor of a `get_attr` node that no training changes, None for anything else."""
    if module is None or not isinstance(index, fx.Node) or index.op != "get_attr":
        return None
    value: object = module
    for part in str(index.target).split("."):
        value = getattr(value, part)
    return value if isinstance(value, torch.Tensor) and not value.requires_grad else None


def set_index_select(edit: Edit) -> None:
    axis = edit["dim"]
    take_again(edit, axis, edit["index"])


def take_again(edit: Edit, axis: int, index: fx.Node) -> None:
    dim = edit.first[axis]
    constant = constant_of(edit.node.graph.owning_module, index)
    if constant is not None and constant.ndim == 1 and edit.changed(dim):
        index_by(edit, axis, left_over(edit, dim, constant.numpy() % len(dim)))


def index(call: Call) -> Value:
    """Indexing by tensors: the indexed dimensions are replaced by those of the indices, the others pass."""
    x, given = call.first, list(call["indices"])
    used = [i for i, item in enumerate(given) if item is not None]
    indexes = [call.value(given[i]) for i in used]
    if any(dims is None for dims in indexes) or len(x) - len(used) + max(map(len, indexes)) != len(call.shape):
        return call.unknown("indexing by booleans has no rule")
    if len(used) == 1:
        return [*x[: used[0]], *taken(call, x[used[0]], given[used[0]]), *x[used[0] + 1 :]]
    call.labels.freeze(*[x[i] for i in used], *[d for dims in indexes for d in dims])
    rest = [d for i, d in enumerate(x) if i not in used]
    adjacent = used == list(range(used[0], used[-1] + 1))
    at, rank = (used[0] if adjacent else 0), max(map(len, indexes))
    return [*rest[:at], *call.opaque(0, call.shape[at : at + rank]), *rest[at:]]


def set_index(edit: Edit) -> None:
    used = [i for i, item in enumerate(edit["indices"]) if item is not None]
    if len(used) == 1:
        take_again(edit, used[0], edit["indices"][used[0]])


def gather(call: Call) -> Value:
    """The gathered dimension is frozen; the others unify with the index where they are as long."""
    x, index, axis = call.dims("self"), call.dims("index"), call["dim"] % max(1, len(call.first))
    call.labels.freeze(x[axis], index[axis])
    for i, (a, b) in enumerate(zip(x, index, strict=True)):
        if i != axis and len(a) == len(b):
            call.labels.unify(a, b)
        elif i != axis:
            call.labels.freeze(a, b)
    return index


def slice_scatter(call: Call) -> Value:
    out, source, axis = list(call.dims("self")), call.dims("src"), call["dim"]
    if call["step"] != 1 or not all(v is None or isinstance(v, int) for v in (call["start"], call["end"])):
        call.labels.freeze(out[axis], source[axis])
        return out
    for i, (a, b) in enumerate(zip(out, source, strict=True)):
        call.labels.unify(a[bounds(call, a)] if i == axis % len(out) else a, b)
    return out


def set_slice_scatter(edit: Edit) -> None:
    dim = edit.dims("self")[edit["dim"]]
    if edit.changed(dim):
        first, last, _ = bounds(edit, dim).indices(len(dim))
        edit.set("start", edit.kept(dim[:first]))
        edit.set("end", edit.kept(dim[:last]))


def select_scatter(call: Call) -> Value:
    out, source = list(call.dims("self")), list(call.dims("src"))
    axis = call["dim"] % len(out)
    call.labels.freeze(out[axis][call["index"] : call["index"] + 1 or None])
    for a, b in zip(out[:axis] + out[axis + 1 :], source, strict=True):
        call.labels.unify(a, b)
    return out


def set_select_scatter(edit: Edit) -> None:
    dim = edit.dims("self")[edit["dim"]]
    if edit.changed(dim):
        edit.set("index", edit.kept(dim[: edit["index"] % len(dim)]))


def create(call: Call) -> Value:
    """A constant of literal sizes is as long as what it meets: fresh leaves."""
    sizes = call.get("size") or ()
    return [call.labels.fresh(n) if isinstance(s, int) else call.zeros(n) for s, n in zip(sizes, call.shape, strict=True)]


def triangle(call: Call) -> Value:
    call.labels.freeze(*call.first[-2:])
    return call.first


def pixel_shuffle(call: Call) -> Value:
    x, factor = call.first, call["upscale_factor"] ** 2
    channel, inner = call.labels.reshape([x[-3]], (len(x[-3]) // factor, factor))
    call.labels.freeze(inner, *x[-2:])
    return [*x[:-3], channel, *call.opaque(len(x) - 2)]


def channel_shuffle(call: Call) -> Value:
    x, groups = call.first, call["groups"]
    group, inner = call.labels.reshape([x[1]], (groups, len(x[1]) // groups))
    return [x[0], *call.labels.reshape([inner, group], (len(x[1]),)), *x[2:]]


SHAPE_ROWS: dict[str, Row] = {
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "_reshape_alias"), Row(reshape, set_size)),
    **dict.fromkeys(("flatten", "view_as", "reshape_as"), Row(reshape)),
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
    "slice": Row(slice_, set_slice),
    "narrow": Row(narrow, set_narrow),
    "select": Row(select, set_selected),
    "unbind": Row(unbind),
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), Row(split, set_split)),
    "getitem": Row(getitem),
    **dict.fromkeys(("pad", "constant_pad_nd"), Row(pad, set_pad)),
    "index_select": Row(index_select, set_index_select),
    "index": Row(index, set_index),
    "gather": Row(gather),
    "slice_scatter": Row(slice_scatter, set_slice_scatter),
    "select_scatter": Row(select_scatter, set_select_scatter),
    **dict.fromkeys(
        ("full", "zeros", "ones", "empty", "rand", "randn", "new_zeros", "new_ones", "new_full", "new_empty"),
        Row(create, set_size),
    ),
    **dict.fromkeys(("tril", "triu"), Row(triangle)),
    "pixel_shuffle": Row(pixel_shuffle),
    "channel_shuffle": Row(channel_shuffle),
}
