"""Rows of the operators that write a part of a tensor: what writes through views, slices and indices become."""

from __future__ import annotations

import numpy as np
import torch

from whet.graph.operators_index import apart, bounds, left_over
from whet.graph.rows import Call, Dims, Edit, Row, Value


def slice_scatter(call: Call) -> Value:
    """The written elements carry the labels of what they replace; bounds that the graph computes freeze both."""
    out, source, axis = list(call.dims("self")), call.dims("src"), call["dim"] % len(call.dims("self"))
    literal = all(v is None or isinstance(v, int) for v in (call["start"], call["end"], call["step"]))
    if not literal:
        call.labels.freeze(out[axis], source[axis])
    for i, (a, b) in enumerate(zip(out, source, strict=True)):
        if literal or i != axis:
            call.labels.unify(a[bounds(call)] if i == axis else a, b)
    return out


def set_slice_scatter(edit: Edit) -> None:
    """Write where the slice's elements went: a slice again where they are evenly apart, else by an index."""
    axis = edit["dim"]
    dim = edit.dims("self")[axis]
    if not edit.changed(dim):
        return
    positions = left_over(edit, dim, np.arange(len(dim))[bounds(edit)])
    evenly = apart(positions, edit.kept(dim))
    if evenly is None:
        index = edit.constant(edit.node.name, torch.from_numpy(positions.astype(np.int64)))
        edit.node.target = torch.ops.aten.index_copy.default
        edit.node.args = (edit["self"], axis, index, edit["src"])
    else:
        edit.node.args = (edit["self"], edit["src"], axis, *evenly)
    edit.node.kwargs = {}


def select_scatter(call: Call) -> Value:
    """The written element must stay, the others are free."""
    out, source = list(call.dims("self")), list(call.dims("src"))
    axis, index = call["dim"] % len(out), call["index"]
    call.labels.freeze(out[axis][index : index + 1 or None] if isinstance(index, int) else out[axis])
    for a, b in zip(out[:axis] + out[axis + 1 :], source, strict=True):
        call.labels.unify(a, b)
    return out


def set_select_scatter(edit: Edit) -> None:
    """Write how many elements are left before the one that is written."""
    dim = edit.dims("self")[edit["dim"]]
    if edit.changed(dim):
        edit.set("index", edit.kept(dim[: edit["index"] % len(dim)]))


def index_write(call: Call) -> Value:
    """`index_add`, `index_copy`, `index_fill`: positions are told by a tensor, so their dimension is frozen."""
    out = call.dims("self")
    source = call.maybe("source") or []
    axis = call["dim"] % max(1, len(out))
    call.labels.freeze(out[axis], *call.dims("index"))
    for i, (a, b) in enumerate(zip(out, source, strict=bool(source))):
        call.labels.freeze(b) if i == axis else call.labels.unify(a, b)
    return out


def scatter(call: Call) -> Value:
    """The dimension written along is frozen; the others unify with index and source where these are as long."""
    out, index, source = call.dims("self"), call.dims("index"), call.maybe("src")
    axis = call["dim"] % max(1, len(out))
    for i, dims in enumerate(zip(out, index, *([] if source is None else [source]), strict=True)):
        whole = i != axis and len({len(dim) for dim in dims}) == 1
        call.labels.unify(*dims) if whole else call.labels.freeze(*dims)
    return out


def index_put(call: Call) -> Value:
    """Indexed dimensions are frozen; the others unify with those of the values, aligned at the right.

    A mask takes as many dimensions as it has. One of several, and several indices of which one is, have no rule.
    """
    out, given, values = call.dims("self"), list(call["indices"]), call.dims("values")
    used = [i for i, item in enumerate(given) if item is not None]
    indexes = [call.value(given[i]) or [] for i in used]
    ranks, one = {len(dims) for dims in indexes}, all(len(dim) == 1 for dim in values)
    if ranks != {1} and not (len(used) == 1 and one):
        return call.unknown("writing by an index of several dimensions has no rule")
    taken = set(used) if ranks == {1} else set(range(used[0], used[0] + max(ranks)))
    call.labels.freeze(*[out[i] for i in taken], *[dim for dims in indexes for dim in dims])
    if not one:
        _meet_values(call, out, used, values)
    return out


def _meet_values(call: Call, out: Dims, used: list[int], values: Dims) -> None:
    """Unify what is not indexed with the written values; the index's own dimension stands where torch puts it."""
    rest: Dims = [dim for i, dim in enumerate(out) if i not in used]
    at = used[0] if used == list(range(used[0], used[-1] + 1)) else 0
    longest = max(len(call.value(call["indices"][i])[0]) for i in used)
    place: Dims = [*rest[:at], call.zeros(longest), *rest[at:]]
    for a, b in zip(reversed(place), reversed(values)):
        call.labels.unify(a, b) if len(a) == len(b) else call.labels.freeze(b)


WRITE_ROWS: dict[str, Row] = {
    "slice_scatter": Row(slice_scatter, set_slice_scatter),
    "select_scatter": Row(select_scatter, set_select_scatter),
    **dict.fromkeys(("index_add", "index_copy", "index_fill"), Row(index_write)),
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce"), Row(scatter)),
    **dict.fromkeys(("index_put", "_index_put_impl"), Row(index_put)),
}
