"""Remove atoms from a net: slice its parameters and rewrite the sizes that its graph holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from whet.core.errors import AxesError, unknown
from whet.core.net import Net
from whet.graph.axes import Axes, analyze
from whet.graph.operators import row_of
from whet.graph.rows import Dims, Edit, Value, bind, each_dims, is_dims

Mask = NDArray[np.bool_]
Kept = dict[str, dict[int, Tensor]]
"""By tensor and dimension, the indices of what a cut kept."""
KEPT = "kept"


def cut(net: Net, keep: Mapping[str, Sequence[int]], axes: Axes | None = None) -> Net:
    """Return a copy of `net` with only the atoms `keep[site]` of each named site; other sites stay whole.

    The result computes what `net` computes when the removed atoms are zero wherever they are read (and
    averages run over the atoms that are left). `axes` saves the analysis if it was made on this very net.

    Raises: AxesError if a site is unknown, keeps nothing, or names an atom that it does not have, if several
    cuts together empty a dimension, or if `axes` belong to another net.
    """
    axes = analyze(net) if axes is None else axes
    strange = [n.name for n in net.graph.nodes if n.op != "output" and n.name not in axes.values]
    if strange:
        raise AxesError(f"these axes were not made from this net, which has '{strange[0]}' besides; analyze it again.")
    removed = removal(axes, keep)
    result = net.copy()
    if not removed.any():
        return result
    _slice_tensors(result.module, axes, removed)
    _record(result.module, axes, removed)
    for node in list(result.graph.nodes):
        if node.op == "call_module":
            layer, x = result.module.get_submodule(str(node.target)), axes.values[node.args[0].name]
            _set_attributes(layer, _dims(x), removed)
        elif node.op == "call_function":
            _rewrite(result.module, node, axes, removed)
    return result.settle()


def removal(axes: Axes, keep: Mapping[str, Sequence[int]]) -> Mask:
    """Return, for each label, whether it goes; check `keep`."""
    gone = np.zeros(axes.labels.count, bool)
    for site, kept in keep.items():
        atoms = _checked(axes, site, kept)
        gone[np.delete(axes.leaves[site], atoms)] = True
    removed = axes.labels.spread(gone)
    for name, value in (axes.tensors | axes.values).items():
        for i, dim in ((i, dim) for dims in each_dims(value) for i, dim in enumerate(dims)):
            if len(dim) and removed[dim].all():
                sites = ", ".join(f"'{site}'" for site in keep)
                raise AxesError(f"cutting {sites} leaves nothing of dimension {i} of '{name}'; keep more.")
    return removed


def _checked(axes: Axes, site: str, kept: Sequence[int]) -> list[int]:
    if site not in axes.groups:
        raise AxesError(str(unknown("site to cut", site, axes.groups)))
    size, atoms = axes.groups[site].size, sorted({int(i) for i in kept})
    if not atoms:
        kind = axes.groups[site].kind
        raise AxesError(f"site '{site}' must keep at least one of its {size} {kind}; got none.")
    if atoms[0] < 0 or atoms[-1] >= size:
        wrong = [i for i in atoms if not 0 <= i < size]
        raise AxesError(f"site '{site}' has {axes.groups[site].kind} 0 to {size - 1}; got {wrong}.")
    return atoms


def _dims(value: Value) -> Dims:
    return value if is_dims(value) else []


def _slice_tensors(module: nn.Module, axes: Axes, removed: Mask) -> None:
    """Slice every parameter and constant once, so that tied ones stay tied."""
    done: dict[int, Tensor] = {}
    originals: list[Tensor] = []
    for name, dims in axes.tensors.items():
        owner_name, _, leaf = name.rpartition(".")
        owner = module.get_submodule(owner_name)
        tensor = getattr(owner, leaf)
        if id(tensor) not in done:
            originals.append(tensor)  # keeps the id from being given to another tensor
            done[id(tensor)] = _sliced(tensor, dims, removed)
        setattr(owner, leaf, done[id(tensor)])


def kept(net: Net, name: str, dim: int) -> Tensor | None:
    """Return which elements of a dimension the cuts so far have kept, shape `(kept,)`; None where they kept all."""
    found: Kept = net.module.meta.get(KEPT, {})
    return found.get(name, {}).get(dim)


def _record(module: fx.GraphModule, axes: Axes, removed: Mask) -> None:
    """Note what is left of each tensor dimension, as indices into the tensor before the first cut."""
    before: Kept = module.meta.get(KEPT, {})
    after: Kept = {}
    for name, dims in axes.tensors.items():
        for i, dim in enumerate(dims):
            index = torch.from_numpy(np.flatnonzero(~removed[dim]))
            earlier = before.get(name, {}).get(i)
            if earlier is not None or len(index) < len(dim):
                after.setdefault(name, {})[i] = index if earlier is None else earlier[index]
    module.meta[KEPT] = after


def _sliced(tensor: Tensor, dims: Dims, removed: Mask) -> Tensor:
    data = tensor.detach()
    for i, dim in enumerate(dims):
        mask = ~removed[dim]
        if not mask.all():
            data = data.index_select(i, torch.from_numpy(np.flatnonzero(mask)).to(data.device))
    if data is tensor or data.shape == tensor.shape:
        return tensor
    return nn.Parameter(data, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else data


def _set_attributes(module: nn.Module, x: Dims, removed: Mask) -> None:
    """Bring a layer's size attributes in line with its sliced parameters and its input `x`."""
    kept = [int((~removed[dim]).sum()) for dim in x]
    attributes: dict[str, Any] = {}
    if isinstance(module, nn.modules.conv._ConvNd):
        groups = int((~removed[x[1]]).reshape(module.groups, -1).any(1).sum())
        out = module.weight.shape[1] * groups if module.transposed else module.weight.shape[0]
        attributes = {"groups": groups, "in_channels": kept[1], "out_channels": out}
    elif isinstance(module, nn.Linear):
        attributes = {"in_features": module.weight.shape[1], "out_features": module.weight.shape[0]}
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        attributes = {"num_features": kept[1]}
    elif isinstance(module, nn.GroupNorm):
        groups = int((~removed[x[1]]).reshape(module.num_groups, -1).any(1).sum())
        attributes = {"num_groups": groups, "num_channels": kept[1]}
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        attributes = {"normalized_shape": tuple(kept[-len(module.normalized_shape) :])}
    elif isinstance(module, nn.Embedding):
        attributes = {"num_embeddings": module.weight.shape[0], "embedding_dim": module.weight.shape[1]}
    for name, value in attributes.items():
        setattr(module, name, value)


def _rewrite(module: fx.GraphModule, node: fx.Node, axes: Axes, removed: Mask) -> None:
    """Adapt the literal arguments of an operator any of whose dimensions changed."""
    if node.target is torch.ops.aten.view.default:
        node.target = torch.ops.aten.reshape.default  # other sizes may come with other strides
    row = row_of(node.target)
    if row is None or row.rewrite is None:
        return

    def constant(name: str, tensor: Tensor) -> fx.Node:
        target = next(t for t in (f"_kept_{name}_{i}" for i in range(10**6)) if not hasattr(module, t))
        module.register_buffer(target, tensor)
        with module.graph.inserting_before(node):
            return module.graph.get_attr(target)

    edit = Edit(node, bind(node), axes.values, removed, constant)
    outputs = edit.out if isinstance(edit.out, tuple) else (edit.out,)
    dims = [dim for value in (*edit.tensors(), *outputs) for dim in _dims(value)]
    if any(edit.changed(dim) for dim in dims):
        row.rewrite(edit)
