"""Which tensor dimensions of a net belong together, and what of them can be cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from whet.core.net import Net
from whet.graph.labels import Dim, Labels
from whet.graph.last_known import LastKnown
from whet.graph.operators import ROWS, row_of
from whet.graph.rows import Call, Dims, Value, bind, each_dims, frozen_like, is_dims, operator_name

AFFINE = ("weight", "bias")
STATISTICS = (*AFFINE, "running_mean", "running_var")
MODULES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    **{getattr(nn, f"Conv{n}d"): (f"conv{n}d", (*AFFINE, "groups")) for n in (1, 2, 3)},
    **{getattr(nn, f"ConvTranspose{n}d"): (f"conv_transpose{n}d", (*AFFINE, "groups")) for n in (1, 2, 3)},
    **{getattr(nn, f"BatchNorm{n}d"): ("batch_norm", STATISTICS) for n in (1, 2, 3)},
    **{getattr(nn, f"InstanceNorm{n}d"): ("instance_norm", STATISTICS) for n in (1, 2, 3)},
    **{getattr(nn, f"Dropout{n}"): ("dropout", ()) for n in ("", "1d", "2d", "3d")},
    nn.Linear: ("linear", AFFINE),
    nn.LayerNorm: ("layer_norm", (*AFFINE, "normalized_shape")),
    nn.RMSNorm: ("rms_norm", ("weight", "normalized_shape")),
    nn.GroupNorm: ("group_norm", (*AFFINE, "num_groups")),
    nn.Embedding: ("embedding", ("weight",)),
    nn.Identity: ("dropout", ()),
}
"""The operator row and the attributes that it reads, for each layer type that a net calls."""

LAYERS = frozenset(row for row, _ in MODULES.values() if row.startswith(("conv", "linear", "embedding")))
"""Operators that produce the dimension of their output from a weight, and so give it its name."""

WEIGHTS = {
    **dict.fromkeys(LAYERS, "weight"),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "params"),
    **{"addmm": "mat2", "mm": "mat2", "matmul": "other"},
}
"""For each operator that produces a dimension when it is no layer, the argument whose owner gives the name."""

KINDS = ("heads", "experts", "groups", "head_dim")
"""Kinds that operators tell, the strongest first; all else is channels (of convolutions) or neurons."""


@dataclass(frozen=True, eq=False)
class Member:
    """A dimension of a parameter: `atom[i]` is the atom that element i belongs to, -1 for none."""

    parameter: str
    dim: int
    atom: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AtomGroup:
    """Interchangeable atoms: each has as many elements in each parameter dimension as the others.

    `site` is the layer that first produces the dimension; `#heads`, `#groups`, `#2`... tell several apart.
    """

    site: str
    kind: str
    size: int
    members: tuple[Member, ...]


@dataclass(frozen=True, eq=False)
class Axes:
    """What can be cut of a net, by site; what froze dimensions without a rule, by node, is in `skipped`.

    `cuttable_share` is the share of parameters that lie in a tensor with at least one cuttable dimension.
    """

    groups: dict[str, AtomGroup]
    skipped: dict[str, str]
    cuttable_share: float
    labels: Labels = field(repr=False)
    values: dict[str, Value] = field(repr=False)
    tensors: dict[str, Dims] = field(repr=False)
    leaves: dict[str, Dim] = field(repr=False)


def analyze(net: Net) -> Axes:
    """Return the axes of `net`, from one run of its example inputs in eval mode.

    Those of the last look at it are taken again while its graph, its layers and its sizes are the same.
    """
    return _analyzed.of(net, _signature(net), lambda: _analyze(net))


def _analyze(net: Net) -> Axes:
    walk = _Walk(net)
    with net.evaluating(), torch.no_grad():
        walk.run(*net.example, enable_io_processing=False)
    walk.keep_what_is_alone()
    return _Grouping(walk).axes()


_analyzed = LastKnown[Axes]()


def _signature(net: Net) -> object:
    """Return what axes depend on: the nodes, the layers as they describe themselves, sizes, and integers' values."""
    nodes = [(n.op, n.name, str(n.target), str(n.args), str(n.kwargs)) for n in net.graph.nodes]
    layers = [(name, str(layer)) for name, layer in net.layers().items()]
    held = net.module.state_dict(keep_vars=True)
    sizes = [(name, id(t), tuple(t.shape), t.is_floating_point() or t._version) for name, t in held.items()]
    return nodes, layers, sizes, [tuple(x.shape) for x in net.example]


class _Walk(fx.Interpreter):
    """Run a net and carry the labels along."""

    def __init__(self, net: Net) -> None:
        super().__init__(net.module)
        self.labels = Labels()
        self.values: dict[str, Value] = {}
        self.marks: list[tuple[str, Dim]] = []
        self.skipped: dict[str, str] = {}
        self.producers: list[tuple[str, str, Dim]] = []
        self.names: dict[int, list[str]] = {}
        self.dims_of: dict[int, Dims] = {}
        for named in (net.module.named_parameters, net.module.named_buffers):
            for name, tensor in named(remove_duplicate=False):
                self.names.setdefault(id(tensor), []).append(name)
        self.parameters = dict(net.module.named_parameters())

    def tensor(self, tensor: Tensor, name: str) -> Dims:
        """Return the labels of a parameter or constant, the same ones wherever it is used."""
        if id(tensor) not in self.dims_of:
            self.dims_of[id(tensor)] = [self.labels.fresh(size) for size in tensor.shape]
        names = self.names.setdefault(id(tensor), [])
        if name not in names:
            names.append(name)
        return self.dims_of[id(tensor)]

    def run_node(self, n: fx.Node) -> Any:
        out = super().run_node(n)
        self.values[n.name] = self._value(n, out)
        return out

    def _value(self, node: fx.Node, out: Any) -> Value:
        if node.op == "placeholder":
            return frozen_like(out)
        if node.op == "get_attr":
            return self.tensor(out, str(node.target)) if isinstance(out, Tensor) else None
        if node.op == "call_module":
            return self._module(node, out)
        if node.op == "output":
            for dims in (dims for result in node.all_input_nodes for dims in each_dims(self.values[result.name])):
                self.labels.freeze(*dims)
            return None
        call = Call(node, bind(node), self.values, self.labels, operator_name(node.target), out)
        row = row_of(node.target)
        value = self._finish(call, row.rule(call) if row else self._without_row(call))
        weight = call.get(WEIGHTS.get(call.name, ""))
        weight = weight[0] if isinstance(weight, (list, tuple)) else weight
        if isinstance(weight, fx.Node) and weight.op == "get_attr":
            name = str(weight.target)
            self._produce(name.rpartition(".")[0] or name, call.name, value)
        return value

    def every_dim(self) -> Iterable[tuple[str, Dim]]:
        """Yield each dimension of each tensor with the name of its node or parameter, equal ones once."""
        seen: set[bytes] = set()
        named = [(self.names[key][0], dims) for key, dims in self.dims_of.items()]
        for name, dims in named + [(name, dims) for name, v in self.values.items() for dims in each_dims(v)]:
            for dim in dims:
                roots = self.labels.roots(dim)
                if roots.all() and len(roots) and (key := roots.tobytes()) not in seen:
                    seen.add(key)
                    yield name, dim

    def keep_what_is_alone(self) -> None:
        """Freeze each leaf that all elements of some dimension hold: cut, it would leave nothing of the dimension.

        A dimension of one element is the common case. No rule need carry its label on, then: a squeeze, a reshape
        and a broadcast may drop it.
        """
        for name, dim in list(self.every_dim()):
            alone = self.labels.common(dim)
            if alone:
                self.labels.freeze(np.array(sorted(alone)))
                what = "has one element" if len(dim) == 1 else "goes or stays as one"
                self.skipped[name] = f"a dimension of it {what}, which stays: nothing would be left."

    def _without_row(self, call: Call) -> Value:
        touches = next(call.tensors(), None) is not None
        return call.unknown("no row in the operator table") if touches else frozen_like(call.out)

    def _finish(self, call: Call, value: Value) -> Value:
        """Keep what the rule noted; an output whose shape the rule missed is frozen with all it came from."""
        if not _fits(value, call.out):
            value = call.unknown("the rule does not fit this use")
        self.marks += call.marks
        self.skipped |= call.skipped
        return value

    def _module(self, node: fx.Node, out: Any) -> Value:
        target = str(node.target)
        module = self.module.get_submodule(target)
        name, attributes = MODULES.get(type(module), (type(module).__name__, ()))
        arguments: dict[str, Any] = {"input": node.args[0] if node.args else None}
        known = type(module) in MODULES
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        for key in attributes if known else tensors:
            value = tensors.get(key, getattr(module, key, None))
            arguments[key] = self.tensor(value, f"{target}.{key}") if isinstance(value, Tensor) else value
        arguments |= {} if known else {str(i): a for i, a in enumerate(node.args)} | dict(node.kwargs)
        call = Call(node, arguments, self.values, self.labels, name, out)
        value = ROWS[name].rule(call) if known else call.unknown("no rule for this layer type")
        value = self._finish(call, value)
        if name in LAYERS:
            self._produce(target, name, value)
        return value

    def _produce(self, site: str, operator: str, value: Value) -> None:
        """Name the dimension that a layer makes after the layer."""
        value = value[0] if isinstance(value, tuple) else value
        if is_dims(value):
            kind, dim = ("channels", value[1]) if operator.startswith("conv") else ("neurons", value[-1])
            self.producers.append((site, kind, dim))


def _fits(value: Value, out: Any) -> bool:
    """Say whether labels have the shape of a concrete output."""
    if isinstance(out, Tensor):
        return is_dims(value) and [len(dim) for dim in value] == list(out.shape)
    if isinstance(out, (list, tuple)) and any(isinstance(item, Tensor) for item in out):
        return isinstance(value, tuple) and len(value) == len(out) and all(map(_fits, value, out))
    return True


class _Grouping:
    """Sort the leaves that a walk has left into groups of interchangeable atoms."""

    def __init__(self, walk: _Walk) -> None:
        self.walk, self.labels = walk, walk.labels
        self.columns: dict[tuple[str, int], Dim] = {}
        for key, dims in walk.dims_of.items():
            name = walk.names[key][0]
            self.columns |= {(name, i): self.labels.columns(dim) for i, dim in enumerate(dims)}
        self.signatures = self._signatures()
        self.site, self.order = self._sites()
        self.kind = self._kinds()

    def _signatures(self) -> dict[int, tuple[tuple[str, int, int], ...]]:
        """Return, for each leaf, its number of elements in every tensor dimension."""
        found: dict[int, list[tuple[str, int, int]]] = {}
        for (name, dim), columns in self.columns.items():
            for leaf, elements in zip(*np.unique(columns, return_counts=True), strict=True):
                if leaf:
                    found.setdefault(int(leaf), []).append((name, dim, int(elements)))
        return {leaf: tuple(entries) for leaf, entries in found.items()}

    def _sites(self) -> tuple[dict[int, tuple[str, str]], list[int]]:
        """Return the producer of each leaf with its kind, and the leaves in the order of production."""
        site: dict[int, tuple[str, str]] = {}
        made = [(name, kind, self.labels.columns(dim)) for name, kind, dim in self.walk.producers]
        own = [(name.removesuffix(".weight"), "neurons", c) for (name, _), c in self.columns.items()]
        for name, kind, columns in made + own:
            for leaf in columns.T.reshape(-1).tolist():
                if leaf and leaf not in site:
                    site[leaf] = (name, kind)
        return site, list(site)

    def _kinds(self) -> dict[int, str]:
        kinds: dict[int, str] = {}
        for kind in KINDS:
            for marked, dim in self.walk.marks:
                if marked == kind:
                    for leaf in np.unique(self.labels.columns(dim)).tolist():
                        kinds.setdefault(leaf, kind)
        return kinds

    def _sets(self) -> Iterable[tuple[str, str, list[int]]]:
        """Yield site, kind and leaves of each set of interchangeable leaves that parameters hold."""
        sets: dict[Any, list[int]] = {}
        for leaf in self.order:
            if leaf in self.signatures:
                sets.setdefault((self.signatures[leaf], self.kind.get(leaf)), []).append(leaf)
        taken: set[str] = set()
        for (signature, *_), leaves in self._divided(sets).items():
            if len(leaves) < 2 or not any(name in self.walk.parameters for name, _, _ in signature):
                continue
            marked = self.kind.get(leaves[0])
            name, kind = self.site[leaves[0]]
            base = f"{name}#{marked}" if marked else name
            numbered = (f"{base}#{i}" for i in count(2))
            site = base if base not in taken else next(s for s in numbered if s not in taken)
            taken.add(site)
            yield site, marked or kind, leaves

    def _divided(self, sets: dict[Any, list[int]]) -> dict[Any, list[int]]:
        """Divide sets where a dimension holds a part of one and nothing else: keeping one of each leaves some of it."""
        of = np.full(self.labels.count, -1, np.int64)
        for number, leaves in enumerate(sets.values()):
            of[leaves] = number
        parts: dict[int, list[int]] = {}
        for position, (_, dim) in enumerate(self.walk.every_dim()):
            columns = self.labels.columns(dim)
            for number in np.unique(of[columns]).tolist():
                held = of[columns] == number
                if number >= 0 and held.any(1).all():
                    for leaf in np.unique(columns[held]).tolist():
                        parts.setdefault(leaf, []).append(position)
        divided: dict[Any, list[int]] = {}
        for key, leaves in sets.items():
            for leaf in leaves:
                divided.setdefault((*key, *parts.get(leaf, ())), []).append(leaf)
        return divided

    def axes(self) -> Axes:
        groups: dict[str, AtomGroup] = {}
        leaves_of: dict[str, Dim] = {}
        cuttable: set[str] = set()
        for site, kind, leaves in self._sets():
            lookup = np.full(self.labels.count, -1, np.int64)
            lookup[leaves] = np.arange(len(leaves))
            members = []
            for name, dim, _ in self.signatures[leaves[0]]:
                atoms = lookup[self.columns[name, dim]]
                if ((atoms >= 0).sum(1) > 1).any():
                    self.walk.skipped[site] = f"an element of {name} belongs to two atoms"
                    break
                if name in self.walk.parameters:
                    members.append(Member(name, dim, atoms.max(1)))
            else:
                groups[site] = AtomGroup(site, kind, len(leaves), tuple(members))
                leaves_of[site] = np.array(leaves, np.int64)
                cuttable |= {member.parameter for member in members}
        sizes = {name: p.numel() for name, p in self.walk.parameters.items()}
        share = sum(sizes[name] for name in cuttable) / max(1, sum(sizes.values()))
        tensors = {name: dims for key, dims in self.walk.dims_of.items() for name in self.walk.names[key]}
        return Axes(groups, self.walk.skipped, share, self.labels, self.walk.values, tensors, leaves_of)
