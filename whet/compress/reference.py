"""`Reference`: what a network gave on calibration inputs, for cuts of it to be solved against."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from torch import Tensor, fx, nn

from whet.compress.lockstep import (
    HELD,
    Checkpoint,
    Inputs,
    Lockstep,
    Survey,
    alive_behind,
    limited,
    mask_of,
    pieces,
    same_prefix,
    survey,
)
from whet.compress.moments import MEMORY_BYTES, ROWS, chosen_rows, quota, read
from whet.core.net import Net
from whet.graph.blocks import ADDS
from whet.graph.readers import Reader, find_readers
from whet.support.structure import tensors

PARTS = 8
"""Of a net, behind each of which what is alive is remembered, as far as memory allows."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Writer:
    """Where a summed output goes: `total` adds it, behind the batch norm `norm` or without one, to `other`."""

    norm: fx.Node | None
    total: fx.Node
    other: fx.Node


def norm_behind(net: Net, node: fx.Node) -> fx.Node | None:
    """Return the batch norm with running statistics that alone reads a node."""
    user = next(iter(node.users))
    layer = net.layer(str(user.target)) if len(node.users) == 1 and user.op == "call_module" else None
    return user if isinstance(layer, NORMS) and layer.running_mean is not None else None


def written_sum(net: Net, node: fx.Node) -> Writer | None:
    """Return the sum of two tensors that a node's output, normed or not, goes into and nothing else."""
    norm = norm_behind(net, node)
    last = norm or node
    total = next(iter(last.users))
    if len(last.users) > 1 or total.target not in ADDS or total.kwargs or len(total.args) != 2:
        return None
    others = [a for a in total.args if isinstance(a, fx.Node) and a is not last]
    return Writer(norm, total, others[0]) if len(others) == 1 and others[0].op != "get_attr" else None


@dataclass(frozen=True)
class Reference:
    """The original network and what it gave on calibration inputs, collected once for all cuts of it.

    `positions` has for each reader, by batch, the lengths of the axes that its outputs have rows for; `rows` the rows
    at drawn positions of what readers gave and of the sums that they write to, by node. `held` are inputs that no layer
    is solved on, with their `answers`. `rate` is the rows taken for each input of a layer: `ROWS`, or what memory
    allows. `checkpoints` hold, in the order of nodes, what was alive behind some, for `batches` and for `held`: what
    stands in front of a cut gives the same again. `note` says what memory did not allow.
    """

    net: Net
    readers: dict[str, Reader]
    batches: tuple[Inputs, ...]
    held: tuple[Inputs, ...]
    rate: float = ROWS
    note: str = ""
    answers: list[list[Tensor]] = field(default_factory=list)
    positions: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    rows: dict[str, list[Tensor]] = field(default_factory=dict)
    checkpoints: list[tuple[Checkpoint, Checkpoint]] = field(default_factory=list)

    @classmethod
    def of(
        cls, net: Net, batches: Sequence[Inputs], held: Sequence[Inputs] = (), memory: int = MEMORY_BYTES
    ) -> Reference:
        """Run the original. At most `memory` bytes are remembered of it, and as many alive while cuts of it run.

        Where all samples at once take more, the first are solved on that fit (one at least), and `note` says so.
        """
        readers, _ = find_readers(net)
        totals = {node.name: written_sum(net, node) for node in net.graph.nodes if node.name in readers}
        sums = {name: w.total.name for name, w in totals.items() if w is not None}
        values = sum(r.matrix(net).numel() * (1 + (n in sums)) for n, r in readers.items())
        rate = min(float(ROWS), memory / 2 / max(1, 4 * values))
        seen = survey(net, limited([*batches, *held], 1)[0])
        most, given = max(1, memory // max(1, seen.most)), sum(len(x[0]) for x in batches)
        note = f"{most} of {given} samples: more activations than {memory >> 20} MB hold." if most < given else ""
        made = cls(net, readers, tuple(limited(batches, most)), tuple(pieces(held, most)), rate, note)
        room = memory // 2 // max(1, sum(len(x[0]) for x in made.batches + made.held))
        kept = _checkpoints(list(net.graph.nodes), seen, room)
        values_behind = [[made._collect(i, x, sums, kept) for i, x in enumerate(made.batches)]]
        values_behind.append([made._collect(-1, x, {}, kept) for x in made.held])
        for name in kept:
            solved, judged = (tuple(behind[name] for behind in part) for part in values_behind)
            made.checkpoints.append((Checkpoint(name, solved), Checkpoint(name, judged)))
        return made

    def _collect(
        self, batch: int, inputs: Inputs, sums: dict[str, str], kept: dict[str, frozenset[str]]
    ) -> dict[str, dict[str, Any]]:
        """Run one batch for the rows of readers or, of held inputs, whose number is -1, for the answers.

        Return what is alive behind the nodes to keep.
        """
        steps, behind = Lockstep(self.net, [inputs], shown=True), dict[str, dict[str, Any]]()
        mask = mask_of(self.net, inputs)
        readers_of: dict[str, list[Reader]] = {}
        for name, reader in self.readers.items() if batch >= 0 else ():
            readers_of.setdefault(name, []).append(reader)
            if name in sums:
                readers_of.setdefault(sums[name], []).append(reader)

        def collect(node: fx.Node) -> None:
            values = steps.values[0]
            if node.name in kept:
                behind[node.name] = {n.name: v for n, v in values.items() if n.name in kept[node.name]}
            readers = readers_of.get(node.name, [])
            if not readers:
                return
            value = values[node]
            if node.name in self.readers:
                value = self.readers[node.name].given(self.net, value, read(self.readers[node.name], values))
                self.positions.setdefault(node.name, []).append(self.readers[node.name].positions(value))
            most = max(self.quota(r) for r in readers)
            chosen = chosen_rows(batch, readers[0].positions(value), most, mask)
            self.rows.setdefault(node.name, []).append(readers[0].outputs(value, chosen))

        (outputs,) = steps.run(after=collect)
        if batch < 0:
            self.answers.append(tensors(outputs))
        return behind

    def start(self, net: Net, changing: Collection[str]) -> tuple[Checkpoint, Checkpoint] | None:
        """Return the last checkpoint in front of all cuts and of the `changing` nodes, of the batches and of the held.

        Behind it the net reads nothing from in front of it but what is remembered.
        """
        same = {n.name for n in takewhile(lambda n: n.name not in changing, same_prefix(net, self.net))}
        nodes = list(net.graph.nodes)
        for found in reversed(self.checkpoints):
            name = found[0].node
            if name not in same:
                continue
            at = next(i for i, node in enumerate(nodes) if node.name == name)
            known = found[0].values[0] if found[0].values else found[1].values[0]
            if {node.name for node in alive_behind(nodes, at)} <= known.keys():
                return found
        return None

    def quota(self, reader: Reader) -> int:
        """Return how many rows of each batch a reader is solved on."""
        return quota(reader, self.net, len(self.batches), self.rate)


def _checkpoints(nodes: Sequence[fx.Node], seen: Survey, room: int) -> dict[str, frozenset[str]]:
    """Return nodes to remember and what is alive behind them: of equal parts of the net that with the least bytes.

    Those come first that lie behind half of the net, then behind quarters, as long as there is room.
    """
    found: dict[str, frozenset[str]] = {}
    parts = [nodes[i * len(nodes) // PARTS : (i + 1) * len(nodes) // PARTS] for i in range(1, PARTS)]
    for i in sorted(range(len(parts)), key=lambda i: (-((i + 1) & -(i + 1)), i)):
        names = [n.name for n in parts[i] if n.op not in (*HELD, "output")]
        if not names:
            continue
        best = min(names, key=lambda name: seen.behind[name][1])
        alive, size = seen.behind[best]
        if alive and size <= room:
            found[best], room = alive, room - size
    return {node.name: found[node.name] for node in nodes if node.name in found}
