"""`Reference`: what a network gave on calibration inputs, for cuts of it to be solved against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, fx, nn

from whet.compress.moments import MEMORY_BYTES, ROWS, Inputs, Lockstep, chosen_rows, quota
from whet.core.net import Net
from whet.core.structure import tensors
from whet.graph.blocks import ADDS
from whet.graph.readers import Reader, find_readers

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
    allows.
    """

    net: Net
    readers: dict[str, Reader]
    batches: tuple[Inputs, ...]
    held: tuple[Inputs, ...]
    answers: tuple[tuple[Tensor, ...], ...]
    rate: float = ROWS
    positions: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    rows: dict[str, list[Tensor]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, net: Net, batches: Sequence[Inputs], held: Sequence[Inputs] = (), memory: int = MEMORY_BYTES
    ) -> Reference:
        """Run the original; what is remembered takes at most `memory` bytes."""
        readers, _ = find_readers(net)
        totals = {node.name: written_sum(net, node) for node in net.graph.nodes if node.name in readers}
        sums = {name: w.total.name for name, w in totals.items() if w is not None}
        values = sum(r.matrix(net).numel() * (1 + (n in sums)) for n, r in readers.items())
        rate = min(float(ROWS), memory / max(1, 4 * values))
        answers = tuple(tuple(tensors(Lockstep(net, [x]).run()[0])) for x in held)
        made = cls(net, readers, tuple(batches), tuple(held), answers, rate)
        for i, inputs in enumerate(batches):
            made._collect(i, inputs, sums)
        return made

    def _collect(self, batch: int, inputs: Inputs, sums: dict[str, str]) -> None:
        steps = Lockstep(self.net, [inputs])
        readers_of: dict[str, list[Reader]] = {}
        for name, reader in self.readers.items():
            readers_of.setdefault(name, []).append(reader)
            if name in sums:
                readers_of.setdefault(sums[name], []).append(reader)

        def collect(node: fx.Node) -> None:
            readers = readers_of.get(node.name, [])
            if not readers:
                return
            value = steps.values[0][node]
            if node.name in self.readers:
                self.positions.setdefault(node.name, []).append(self.readers[node.name].positions(value))
            most = max(self.quota(r) for r in readers)
            chosen = chosen_rows(batch, readers[0].positions(value), most)
            self.rows.setdefault(node.name, []).append(readers[0].outputs(value, chosen))

        steps.run(after=collect)

    def quota(self, reader: Reader) -> int:
        """Return how many rows of each batch a reader is solved on."""
        return quota(reader, self.net, len(self.batches), self.rate)
