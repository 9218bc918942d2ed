"""Residual blocks `y = shortcut(x) + f(x)`: finding them in a net's graph, and taking `f` away."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import torch
from torch import fx

from whet.core.errors import unknown
from whet.core.net import Net

aten = torch.ops.aten
PRODUCTS = tuple(f"aten.{name}." for name in ("mm", "addmm", "bmm", "matmul", "linear", "einsum", "embedding"))
IDEMPOTENT = (aten.relu.default, aten.relu_.default)
ADDS = (aten.add.Tensor, aten.add_.Tensor, operator.add)


@dataclass(frozen=True)
class Block:
    """A removable residual branch; nodes are given by name, which copies of a net share.

    `add` is the node that sums, `branch` the node whose value is f(x), `entry` the node x, `shortcut` the
    node that f(x) is added to. `body` holds all nodes that live for f alone and `bypass` those of the
    shortcut, in the order of execution; `layers` and `parameters` are the dotted names of what `body` calls
    and reads. `shape` is that of the sum on the example inputs.
    """

    site: str
    add: str
    entry: str
    branch: str
    shortcut: str
    body: tuple[str, ...]
    bypass: tuple[str, ...]
    layers: tuple[str, ...]
    parameters: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Blocks:
    """The removable blocks by site, in the order of execution, and why other sums are none."""

    blocks: dict[str, Block]
    skipped: dict[str, str]


@dataclass(frozen=True)
class _Term:
    """One summand: its node, what lives for it alone, the tensors that reads, its layers in sequence."""

    node: fx.Node
    body: tuple[fx.Node, ...]
    inputs: frozenset[fx.Node]
    depth: int


class _Graph:
    """A net's graph with what the search for blocks asks of it."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.nodes = list(net.graph.nodes)
        self.order = {node: i for i, node in enumerate(self.nodes)}
        self.shapes = net.forward_shapes()
        self.layers = net.layers()
        self.parameters = dict(net.module.named_parameters(remove_duplicate=False))

    def is_sum(self, node: fx.Node) -> bool:
        if node.op != "call_function" or node.target not in ADDS or node.name not in self.shapes:
            return False
        tensors = [a for a in node.args if isinstance(a, fx.Node) and a.name in self.shapes]
        return len(node.args) == len(tensors) == 2

    def mixes(self, name: str) -> bool:
        """Say whether layer or parameter `name` mixes features: it is a matrix, or holds weights and is no norm."""
        if name not in self.layers:
            return name in self.parameters and self.parameters[name].ndim > 1
        layer = self.layers[name]
        return "Norm" not in type(layer).__name__ and any(True for _ in layer.parameters())

    def type_name(self, node: fx.Node) -> str:
        return type(self.layers[str(node.target)]).__name__

    def weighs(self, node: fx.Node) -> bool:
        """Say whether `node` mixes features: a layer, or a product with a parameter that belongs to no layer."""
        if node.op == "call_module":
            return self.mixes(str(node.target))
        if node.op != "call_function" or not str(node.target).startswith(PRODUCTS):
            return False
        return any(self.is_weight(i) for i in node.all_input_nodes)

    def is_weight(self, node: fx.Node) -> bool:
        """Say whether `node` is a matrix of parameters, transposed or reshaped perhaps."""
        if node.op == "get_attr":
            return self.mixes(str(node.target))
        inputs = node.all_input_nodes
        return node.op == "call_function" and len(inputs) == 1 and self.is_weight(inputs[0])

    def term(self, node: fx.Node) -> _Term:
        body = self._exclusive(node)
        read = {i for n in body for i in n.all_input_nodes} - body if body else {node}
        inputs = {i for i in read if i.op != "get_attr" and i.name in self.shapes}
        # attention(norm(x)) + mlp(norm(x)) with one norm: both are branches of x.
        norms = {i for i in inputs if body and i.op == "call_module" and "Norm" in self.type_name(i)}
        inputs |= {i for norm in norms for i in norm.all_input_nodes}
        depth: dict[fx.Node, int] = {}
        ordered = sorted(body, key=self.order.__getitem__)
        for n in ordered:
            depth[n] = self.weighs(n) + max((depth.get(i, 0) for i in n.all_input_nodes), default=0)
        return _Term(node, tuple(ordered), frozenset(inputs), depth.get(node, 0))

    def _exclusive(self, root: fx.Node) -> set[fx.Node]:
        """Return the nodes whose every path to the output goes through `root`'s single use."""
        if len(root.users) != 1 or root.op in ("placeholder", "get_attr"):
            return set()
        body = {root}
        for node in reversed(self.nodes[: self.order[root]]):
            if node.op != "placeholder" and node.users and all(u in body for u in node.users):
                body.add(node)
        return body

    def has_layers_between(self, source: fx.Node, sink: fx.Node) -> bool:
        """Say whether `sink` is computed from `source`, with layers that mix features on the way."""
        depth: dict[fx.Node, int] = {source: 0}
        for node in self.nodes[self.order[source] + 1 : self.order[sink] + 1]:
            reached = [depth[i] for i in node.all_input_nodes if i in depth]
            if reached:
                depth[node] = max(reached) + self.weighs(node)
        return depth.get(sink, 0) > 0

    def terms(self, add: fx.Node) -> list[_Term]:
        """Return the summands of a tree of sums: `x + attention(x) + mlp(x)` has three."""
        found: list[_Term] = []
        for operand in add.args:
            assert isinstance(operand, fx.Node)
            if self.is_sum(operand) and len(operand.users) == 1:
                found += self.terms(operand)
            else:
                found.append(self.term(operand))
        return found


def _shortcut_of(branch: _Term, others: Sequence[_Term]) -> _Term | None:
    """Return the summand that `branch` is residual to: shallower, from one tensor that `branch` reads too."""
    for other in sorted(others, key=lambda t: t.depth):
        if branch.depth > other.depth and len(other.inputs) == 1 and other.inputs <= branch.inputs:
            return other
    return None


def analyze_blocks(net: Net) -> Blocks:
    """Return the innermost removable residual blocks of `net`, and the sums that are none with the reason."""
    graph = _Graph(net)
    found: list[Block] = []
    skipped: dict[str, str] = {}
    for add in filter(graph.is_sum, graph.nodes):
        if len(add.users) == 1 and graph.is_sum(next(iter(add.users))):
            continue  # part of a larger sum, which is looked at as a whole
        terms = graph.terms(add)
        blocks = [b for t in terms if (b := _block(graph, add, t, [o for o in terms if o is not t]))]
        reason = _unfit(graph, add, terms, bool(blocks))
        if reason:
            skipped[_prefix(_names(graph, terms)) or add.name] = reason
        else:
            found += blocks
    sums = {b.add for b in found}
    outer = [b for b in found if sums & set(b.body)]
    found = _named(graph, [b for b in found if b not in outer])
    for block in outer:
        inside = next(b.site for b in found if b.add in block.body)
        skipped[_prefix(block.layers) or block.layers[0]] = f"its branch contains the residual block '{inside}'."
    return Blocks({b.site: b for b in found}, skipped)


def find_blocks(net: Net) -> list[Block]:
    """Return the removable residual blocks of `net` in the order of execution."""
    return list(analyze_blocks(net).blocks.values())


def _block(graph: _Graph, add: fx.Node, branch: _Term, others: Sequence[_Term]) -> Block | None:
    shortcut = _shortcut_of(branch, others)
    if shortcut is None:
        return None
    names = _names(graph, [branch])
    return Block(
        site="",
        add=next(iter(branch.node.users)).name,
        entry=next(iter(shortcut.inputs)).name,
        branch=branch.node.name,
        shortcut=shortcut.node.name,
        body=tuple(n.name for n in branch.body),
        bypass=tuple(n.name for n in shortcut.body),
        layers=tuple(dict.fromkeys(str(n.target) for n in branch.body if n.op == "call_module")),
        parameters=tuple(n for n in names if n not in graph.layers),
        shape=graph.shapes[add.name],
    )


def _names(graph: _Graph, terms: Iterable[_Term]) -> list[str]:
    """Return the dotted names of the layers and parameters that live for `terms` alone, in order."""
    nodes = [n for t in terms for n in t.body]
    return [str(n.target) for n in nodes if n.op == "call_module" or str(n.target) in graph.parameters]


def _unfit(graph: _Graph, add: fx.Node, terms: Sequence[_Term], matched: bool) -> str | None:
    """Return why a sum is not made of residual branches; None if it is, or only adds a bias or mask."""
    if not matched:
        for term, other in permutations(terms, 2):
            readers = [u.name for u in term.node.users if not graph.is_sum(u)]
            if readers and graph.has_layers_between(other.node, term.node):
                return f"the output '{term.node.name}' of its branch is also read by '{readers[0]}'."
        if sum(t.depth > 0 for t in terms) > 1:
            names = ", ".join(f"'{t.node.name}'" for t in terms)
            return f"no summand of '{add.name}' is a shortcut from a tensor that a deeper one reads: {names}."
        return None
    if any("alpha" in n.kwargs for n in [add, *add.all_input_nodes] if graph.is_sum(n)):
        return f"the sum '{add.name}' scales a summand (alpha)."
    odd = [t.node.name for t in terms if graph.shapes[t.node.name] != graph.shapes[add.name]]
    return f"'{odd[0]}' is broadcast in the sum '{add.name}'." if odd else None


def _prefix(names: Sequence[str]) -> str:
    """Return the common dotted prefix.

    >>> _prefix(["layer1.0.conv1", "layer1.0.bn1"]), _prefix(["stem", "head"])
    ('layer1.0', '')
    """
    common: list[str] = []
    for parts in zip(*(n.split(".") for n in names), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)


def _named(graph: _Graph, blocks: Sequence[Block]) -> list[Block]:
    """Give each block the shortest site that is neither another's nor a prefix of another's."""
    ladders = [_candidates(graph, b) for b in blocks]
    rungs = [0] * len(blocks)
    while True:
        sites = [ladder[rung] for ladder, rung in zip(ladders, rungs, strict=True)]
        clashing = [i for i, site in enumerate(sites) if _clashes(site, sites[:i] + sites[i + 1 :])]
        climbing = [i for i in clashing if rungs[i] + 1 < len(ladders[i])]
        if not climbing:
            break
        for i in climbing:
            rungs[i] += 1
    seen: Counter[str] = Counter()
    named = []
    for block, site in zip(blocks, sites, strict=True):
        seen[site] += 1
        named.append(replace(block, site=site if seen[site] == 1 else f"{site}#{seen[site]}"))
    return named


def _candidates(graph: _Graph, block: Block) -> list[str]:
    """Return possible sites: the prefix of all layers, of those that mix features, the first of these."""
    names = [*block.layers, *block.parameters]
    mixing = [n for n in names if graph.mixes(n)] or names
    return list(dict.fromkeys(o for o in (_prefix(names), _prefix(mixing), mixing[0]) if o))


def _clashes(site: str, others: Iterable[str]) -> bool:
    return any(o == site or o.startswith(site + ".") for o in others)


def drop_blocks(net: Net, sites: Iterable[str]) -> Net:
    """Return a copy of `net` without the branches f of the blocks at `sites`: y = shortcut(x).

    The layers and parameters that only the branches used are gone; all others keep names and values.
    Raises: UnknownNameError for a site that is not a block.
    """
    blocks = analyze_blocks(net).blocks
    for site in sites:
        if site not in blocks:
            raise unknown("residual block", site, blocks)
    smaller = net.copy()
    gone = {blocks[site].branch for site in sites}
    for node in list(smaller.graph.nodes):
        operands = [a for a in node.args if isinstance(a, fx.Node)] if node.target in ADDS else []
        left = [a for a in operands if a.name not in gone]
        if len(left) == 1 < len(operands):
            node.replace_all_uses_with(left[0])
        elif operands and not left:
            gone.add(node.name)
    _merge_repeated(smaller)
    smaller.settle()
    delete_unread_parameters(smaller, net)
    return smaller


def _merge_repeated(net: Net) -> None:
    """Let relu(relu(x)), which is what is left where a block between two is gone, be relu(x)."""
    for node in list(net.graph.nodes):
        source = node.args[0] if node.args else None
        if node.target in IDEMPOTENT and isinstance(source, fx.Node) and source.target in IDEMPOTENT:
            node.replace_all_uses_with(source)


def delete_unread_parameters(smaller: Net, net: Net) -> None:
    """Delete what only removed `get_attr` nodes read; `Net.settle` sees to whole layers alone."""
    read = {str(n.target) for n in smaller.graph.nodes if n.op == "get_attr"}
    layers = smaller.layers()
    for name in {str(n.target) for n in net.graph.nodes if n.op == "get_attr"} - read:
        owner, _, attribute = name.rpartition(".")
        if owner in layers:
            continue  # tied to a layer that stays
        try:
            module = smaller.module.get_submodule(owner)
        except AttributeError:
            continue  # its owner went with the last of its layers
        if hasattr(module, attribute):
            delattr(module, attribute)
