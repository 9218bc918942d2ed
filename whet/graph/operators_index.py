"""Rows of the operators that pick elements: slices, selections, indexing by tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import fx

from whet.graph.labels import Dim
from whet.graph.rows import Bound, Call, Dims, Edit, Row, Value, operator_name


def bounds(bound: Bound) -> slice:
    """Return the literal bounds of a slice."""
    return slice(bound["start"], bound["end"], bound["step"])


def slice_(call: Call) -> Value:
    """A slice by literal bounds; one with a step may become a copy, so nothing may write through it."""
    out, axis = list(call.first), call["dim"]
    written = call["step"] != 1 and any(operator_name(user.target).endswith("_") for user in call.node.users)
    if not written and all(v is None or isinstance(v, int) for v in (call["start"], call["end"], call["step"])):
        out[axis] = out[axis][bounds(call)]
    else:
        call.labels.freeze(out[axis])
        out[axis] = call.zeros(call.shape[axis])
    return out


def narrow(call: Call) -> Value:
    """A slice that begins at a literal element; one that begins where the graph computes is frozen."""
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
    result: np.ndarray = (np.cumsum(mask) - 1)[chosen[mask[chosen]]]
    return result


def index_by(edit: Edit, axis: int, positions: np.ndarray) -> None:
    """Turn the node into an `index_select` by a constant."""
    index = edit.constant(edit.node.name, torch.from_numpy(positions.astype(np.int64)))
    edit.node.target = torch.ops.aten.index_select.default
    edit.node.args, edit.node.kwargs = (edit.node.args[0], axis, index), {}


def set_slice(edit: Edit) -> None:
    """Write the bounds of what is left of a slice, or index by its positions where they are not evenly apart."""
    axis = edit["dim"]
    dim = edit.first[axis]
    if not edit.changed(dim):
        return
    positions = left_over(edit, dim, np.arange(len(dim))[bounds(edit)])
    evenly = apart(positions, edit.kept(dim))
    if evenly is None:
        index_by(edit, axis, positions)
    else:
        edit.node.args, edit.node.kwargs = (edit.node.args[0], axis, *evenly), {}


def apart(positions: np.ndarray, size: int) -> tuple[int, int, int] | None:
    """Return start, end and step of the slice of `size` elements that has these positions, None if there is none.

    >>> apart(np.array([1, 3, 5]), 6), apart(np.array([0, 1, 3]), 6), apart(np.array([], int), 6)
    ((1, 6, 2), None, (6, 6, 1))
    """
    if not len(positions):
        return size, size, 1
    steps = np.unique(np.diff(positions))
    if len(steps) > 1:
        return None
    return int(positions[0]), int(positions[-1]) + 1, int(steps[0]) if len(steps) else 1


def set_narrow(edit: Edit) -> None:
    """Write how many elements are left before the slice and in it."""
    dim = edit.first[edit["dim"]]
    edit.set("start", edit.kept(dim[: edit["start"] % len(dim)]))
    edit.set("length", edit.kept(edit.out[edit["dim"]]))


def select(call: Call) -> Value:
    """The selected element must stay, the others are free."""
    x, axis, index = call.first, call["dim"] % len(call.first), call["index"]
    call.labels.freeze(x[axis] if not isinstance(index, int) else x[axis][index : index + 1 or None])
    return x[:axis] + x[axis + 1 :]


def set_selected(edit: Edit) -> None:
    """Write how many elements are left before the selected one."""
    dim = edit.first[edit["dim"]]
    if edit.changed(dim):
        edit.set("index", edit.kept(dim[: edit["index"] % len(dim)]))


def index_select(call: Call) -> Value:
    """Elements by a vector of indices: a constant one is followed."""
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
    """Return the tensor, of any shape, of a `get_attr` node that no training changes, None for anything else."""
    if module is None or not isinstance(index, fx.Node) or index.op != "get_attr":
        return None
    value: object = module
    for part in str(index.target).split("."):
        value = getattr(value, part)
    return value if isinstance(value, torch.Tensor) and not value.requires_grad else None


def set_index_select(edit: Edit) -> None:
    """Index by where the chosen elements went."""
    axis = edit["dim"]
    take_again(edit, axis, edit["index"])


def take_again(edit: Edit, axis: int, index: fx.Node) -> None:
    """Index dimension `axis` by where its constantly chosen elements went, if any of it was cut."""
    dim = edit.first[axis]
    constant = constant_of(edit.node.graph.owning_module, index)
    if constant is not None and constant.ndim == 1 and edit.changed(dim):
        index_by(edit, axis, left_over(edit, dim, constant.numpy() % len(dim)))


def index(call: Call) -> Value:
    """Indexing by tensors: the indexed dimensions are replaced by those of the indices, the others pass."""
    x, given = call.first, list(call["indices"])
    used = [i for i, item in enumerate(given) if item is not None]
    indexes = [call.value(given[i]) for i in used]
    rank = max(len(dims or ()) for dims in indexes)
    if any(dims is None for dims in indexes) or len(x) - len(used) + rank != len(call.shape):
        return call.unknown("indexing by booleans has no rule")
    if len(used) == 1:
        return [*x[: used[0]], *taken(call, x[used[0]], given[used[0]]), *x[used[0] + 1 :]]
    call.labels.freeze(*[x[i] for i in used], *[d for dims in indexes for d in dims])
    rest = [d for i, d in enumerate(x) if i not in used]
    adjacent = used == list(range(used[0], used[-1] + 1))
    at = used[0] if adjacent else 0
    return [*rest[:at], *call.opaque(0, call.shape[at : at + rank]), *rest[at:]]


def set_index(edit: Edit) -> None:
    """Index by where the chosen elements went, if one dimension alone is indexed."""
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


INDEX_ROWS: dict[str, Row] = {
    "slice": Row(slice_, set_slice),
    "narrow": Row(narrow, set_narrow),
    "select": Row(select, set_selected),
    "index_select": Row(index_select, set_index_select),
    "index": Row(index, set_index),
    "gather": Row(gather),
}
