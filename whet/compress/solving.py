"""Solve the readers of a cut net one after the other, each on what the net before it gives."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from whet.compress.lockstep import Lockstep, mask_of
from whet.compress.moments import LARGEST, Moments, Sums, chosen_rows, grouped, least_squares, read
from whet.compress.prune.support import DAMPING, solved_on_support
from whet.compress.reference import NORMS, Reference, Writer, norm_behind, written_sum
from whet.core.net import Net
from whet.graph.blocks import IDEMPOTENT
from whet.graph.cut import kept
from whet.graph.readers import Reader, find_readers
from whet.graph.zeros import held_weights, sparser

CHUNK_BYTES = 32 * 2**20
"""Of rows of a layer's inputs that are there at a time."""

IN_PLACE = "in_place_of"
"""In the `meta` of a layer that stands for a block: what the block read and what the layer gives in the original, by
node; instead of that nothing, where the layer's output is added to a shortcut."""

SMALLEST_SCALE = 1e-3
"""Of a batch norm's largest; outputs that are scaled by less cannot say what their layer should give."""


@dataclass(frozen=True)
class Problem:
    """A reader to solve: in the original it is `old`, of whose outputs it still gives `outputs`, and into `total`.

    `goal` is the node of the original whose values it, or the total, should have. Of a stand-in `old` is the last layer
    of what it stands for.
    """

    node: fx.Node
    reader: Reader
    old: Reader
    total: Writer | None
    outputs: Tensor
    goal: str


class Solving:
    """One pass over a cut net that solves its readers; `touched` are the nodes that give other values than before."""

    def __init__(self, reference: Reference, net: Net, dampings: Sequence[float]) -> None:
        self.reference, self.net, self.dampings = reference, net, sorted(dampings)
        self.guess: float | None = None
        self.original = {node.name: node for node in reference.net.graph.nodes}
        self.readers, self.others = find_readers(net)
        self.last = _last(net, self.readers)
        sums = {name: written_sum(reference.net, self.original[name]) for name in reference.readers}
        self.writers = {total.total.name: name for name, total in sums.items() if total is not None}
        self.held, self.sparser = held_weights(net.module), sparser(net.module, reference.net.module)
        self.stands_for = stand_ins(net, self.original)
        self.start = reference.start(net, self._in_front())
        self.steps = Lockstep(net, reference.batches, self.start[0] if self.start else None, shown=True)
        self.touched: set[str] = set()
        self.dropped = False
        self.changed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.errors: dict[str, tuple[float, float]] = {}

    def _in_front(self) -> list[str]:
        """Return the readers that write in front of dropped blocks: solved though nothing before them is cut."""
        totals = {n.name: written_sum(self.net, n) for n in self.net.graph.nodes if n.name in self.readers}
        return [name for name, total in totals.items() if total is not None and total.total.name in self.stands_for]

    def run(self) -> None:
        """Solve in the order of execution, each reader on what the solved ones in front of it give."""
        self.steps.run(before=self._before)

    def _before(self, node: fx.Node) -> None:
        moved = self._moved(node)
        self.dropped |= moved
        reached = moved or str(node.target) in self.sparser or any(i.name in self.touched for i in node.all_input_nodes)
        if reached or self._resized(node):
            self.touched.add(node.name)
        total = self._total(node) if node.name in self.readers else None
        if total is not None and total.total.name in self.stands_for:
            self.dropped = True
        elif not reached:
            return
        if node.name in self.others:
            site, reason = self.others[node.name]
            self.skipped[site] = reason
        elif node.name in self.readers:
            self._reader(node, self.readers[node.name], total)

    def _moved(self, node: fx.Node) -> bool:
        """Say whether a node reads other nodes than in the original, or was not there."""
        before = self.original.get(node.name)
        return before is None or [i.name for i in node.all_input_nodes] != [i.name for i in before.all_input_nodes]

    def _resized(self, node: fx.Node) -> bool:
        """Say whether a tensor that a node holds has another size than in the original."""
        if node.op == "get_attr":
            return _shape(self.net, str(node.target)) != _shape(self.reference.net, str(node.target))
        if node.op != "call_module":
            return False
        names = [f"{node.target}.{n}" for n in self.net.layer(str(node.target)).state_dict()]
        return any(_shape(self.net, n) != _shape(self.reference.net, n) for n in names)

    def _reader(self, node: fx.Node, reader: Reader, total: Writer | None) -> None:
        goal, new = self._goal(node, total), IN_PLACE in node.meta
        old = self.reference.readers.get(self.writers.get(goal, "") if new else node.name)
        if old is None:
            self.skipped[reader.site] = "the original has no such layer."
            return
        narrower = reader.matrix(self.net).shape[-1] != old.matrix(self.reference.net).shape[-1]
        cut = narrower or new or reader.site in self.sparser
        if not (cut or node.name in self.last or (self.dropped and total is not None)):
            return
        reason = self._solve(node, reader, old, total, goal)
        if reason:
            self.skipped[reader.site] = reason

    def _total(self, node: fx.Node) -> Writer | None:
        """Return the sum that a node writes to, if its other summand is there and the original has the sum."""
        found, before = written_sum(self.net, node), self.original.get(node.name)
        new = before is None and IN_PLACE in node.meta
        if found is None or not (before or new) or found.other not in self.steps.values[0]:
            return None
        there = written_sum(self.reference.net, before) if before else found
        same = there is not None and there.total.name == found.total.name
        return found if same and self._goal(node, found) in self.reference.rows else None

    def _goal(self, node: fx.Node, total: Writer | None) -> str:
        """Return the node whose values in the original a reader's sum, or a stand-in, should have.

        It is behind dropped blocks, if there are any.
        """
        if total is not None:
            return self.stands_for.get(total.total.name, total.total.name)
        return self.stands_for.get(node.name, node.meta[IN_PLACE][1]) if IN_PLACE in node.meta else node.name

    def _solve(self, node: fx.Node, reader: Reader, old: Reader, total: Writer | None, goal: str) -> str:
        """Solve one reader in place; return why it could not be."""
        outputs = _kept_outputs(self.net, reader, old, self.reference.net)
        if outputs is None:
            return "it is not known which of its outputs were kept: they were not cut by `whet.graph.cut`."
        for values, positions in zip(self.steps.values, self.reference.positions[old.node], strict=True):
            x = read(reader, values)
            if not reader.fits(self.net, x, positions):
                return f"it reads {tuple(x.shape)}: other positions than in the original."
        return self._write(Problem(node, reader, old, total, outputs, goal))

    def _halves(self, asked: Problem, weight: Tensor, block: Tensor) -> tuple[Moments, Moments]:
        """Return the moments of a block of inputs on each half of the rows, with what other inputs do not give as y."""
        reader, sums, count = asked.reader, (Sums(), Sums()), len(self.steps.values)
        goals_of = self.reference.rows[asked.goal]
        for i, values in enumerate(self.steps.values):
            positions, goals = self.reference.positions[asked.old.node][i], goals_of[i]
            wanted = min(len(goals), self.reference.quota(asked.old))
            chosen = chosen_rows(i, positions, wanted, mask_of(self.net, self.reference.batches[i]))
            for half, rows in _parts(i, count, len(chosen), max(1, CHUNK_BYTES // (4 * weight.shape[-1]))):
                x = reader.inputs(self.net, read(reader, values), positions, chosen[rows])
                goal = goals[: len(chosen)][rows][:, asked.outputs]
                if asked.total is not None:
                    goal = goal - reader.outputs(values[asked.total.other], chosen[rows])
                    goal = self._unnormed(asked.total.norm, goal)
                y = grouped(goal, len(x))
                if len(block) < x.shape[-1]:
                    y = y - (x @ weight.mT - x[..., block] @ weight[..., block].mT)
                sums[half].add(x[..., block] if len(block) < x.shape[-1] else x, y)
        return sums[0].moments(), sums[1].moments()

    def _unnormed(self, norm: fx.Node | None, goal: Tensor) -> Tensor:
        """Return what a batch norm has to read to give `goal`: `(goal - beta) sqrt(v + eps) / gamma + m`.

        Where gamma is next to nothing it does not matter, and the mean is asked for.
        """
        if norm is None:
            return goal
        layer = self.net.layer(str(norm.target))
        assert isinstance(layer, NORMS) and layer.running_mean is not None and layer.running_var is not None
        if layer.weight is not None:
            small = layer.weight.abs() < SMALLEST_SCALE * layer.weight.abs().max()
            goal = (goal - layer.bias) / torch.where(small, torch.inf, layer.weight)
        return goal * (layer.running_var + layer.eps).sqrt() + layer.running_mean

    def _write(self, asked: Problem) -> str:
        """Solve for the weight, `LARGEST` inputs at a time, then the bias; return why it could not be solved."""
        reader, weight = asked.reader, asked.reader.matrix(self.net).clone()
        norm = norm_behind(self.net, asked.node)
        free = reader.bias is not None or norm is not None
        sparse = reader.site in self.held
        first = last = 0.0
        for block in torch.split(torch.arange(weight.shape[-1]), LARGEST):
            one, two = self._halves(asked, weight, block)
            one, two = (one, two) if free else (one.raw(), two.raw())
            found = one.joined(two)
            if not (found.xx.isfinite().all() and found.yx.isfinite().all()):
                return "what it reads holds NaN or infinity on the calibration inputs."
            first = first or found.error(weight[..., block])
            if sparse:
                weight[..., block], damping = solved_on_support(found, weight[..., block]), DAMPING
            else:
                weight[..., block], damping = least_squares(one, two, weight[..., block], self.dampings, self.guess)
                self.guess = damping
            last = found.error(weight[..., block])
        reader.assign(self.net, weight)
        shift = (found.y_mean - (weight[..., block].double() @ found.mean.unsqueeze(-1)).squeeze(-1)).flatten().float()
        if reader.bias is not None:
            self.net.module.get_parameter(reader.bias).data.copy_(shift)
        elif norm is not None:
            mean = self.net.layer(str(norm.target)).running_mean
            assert isinstance(mean, Tensor)
            mean.sub_(shift)
        self._record(reader.site, found, (first, last), damping, weight.shape[-1])
        return ""

    def _record(self, site: str, found: Moments, errors: tuple[float, float], damping: float, inputs: int) -> None:
        """Write down a layer's error before and after as shares of what it gives."""
        before, after = (error / max(float(found.yy.sum()), 1e-30) for error in errors)
        few = f"; damped by {damping:g}, {found.count} rows for {inputs} inputs" if found.count < inputs else ""
        self.errors[site] = after, before
        self.changed[site] = f"error {after:.4f} of its output, {before:.4f} before{few}"


def stand_ins(net: Net, original: dict[str, fx.Node]) -> dict[str, str]:
    """Return nodes whose every reader read another node in the original, the same one: where blocks were dropped.

    In front of a repeated activation that was merged it is what the activation read: relu(s) in the place of
    relu(s' = relu(s) + f) makes s stand for s'.
    """
    found: dict[str, str] = {}
    for node in reversed(list(net.graph.nodes)):
        names: set[str] = set()
        for user in node.users:
            before = original.get(user.name)
            if before is None and IN_PLACE in user.meta:
                names.add(user.meta[IN_PLACE][0])
                continue
            if before is None or len(before.all_input_nodes) != len(user.all_input_nodes):
                return {}
            stands = original.get(found.get(user.name, ""))
            if stands is not None and stands.target == user.target and user.target in IDEMPOTENT:
                before = stands
            pairs = zip(user.all_input_nodes, before.all_input_nodes, strict=True)
            names |= {b.name for a, b in pairs if a is node}
        if len(names) == 1 and names != {node.name}:
            found[node.name] = names.pop()
    return found


def _parts(batch: int, batches: int, rows: int, most: int) -> Iterator[tuple[int, slice]]:
    """Yield which half `most` rows of a batch at a time belong to: that of every second batch, or the other.

    Of a single batch the first rows make one half and the last the other.

    >>> list(_parts(1, 2, 5, 3)), list(_parts(0, 1, 5, 3))
    ([(1, slice(0, 3, None)), (1, slice(3, 5, None))], [(0, slice(0, 2, None)), (1, slice(3, 5, None))])
    """
    middle = max(1, rows // 2)
    halves = [(batch % 2, 0, rows)] if batches > 1 else [(0, 0, middle), (1, rows - middle, rows)]
    for half, start, stop in halves:
        for at in range(start, stop, most):
            yield half, slice(at, min(at + most, stop))


def _last(net: Net, readers: Collection[str]) -> set[str]:
    """Return the readers that no other reader comes behind."""
    behind: set[fx.Node] = set()
    found = set()
    for node in reversed(list(net.graph.nodes)):
        if any(user in behind or user.name in readers for user in node.users):
            behind.add(node)
        elif node.name in readers:
            found.add(node.name)
    return found


def _shape(net: Net, name: str) -> tuple[int, ...] | None:
    """Return the shape of a parameter or buffer, None if there is none."""
    owner, _, leaf = name.rpartition(".")
    try:
        return tuple(getattr(net.module.get_submodule(owner), leaf).shape)
    except AttributeError:
        return None


def _kept_outputs(net: Net, reader: Reader, old: Reader, original: Net) -> Tensor | None:
    """Return which of the original's outputs a reader still gives, None if that is not known."""
    groups, outputs, _ = old.matrix(original).shape
    index = kept(net, reader.weight, reader.out_axis)
    earlier = kept(original, reader.weight, reader.out_axis)
    if index is not None and earlier is not None:
        index = torch.searchsorted(earlier, index)
    if index is None and reader.matrix(net).shape[:2] == (groups, outputs):
        return torch.arange(groups * outputs)
    return None if reader.kind == "transposed" and groups > 1 else index
