"""`Lockstep`: a net run on several batches node by node, from its inputs or from what is remembered of another run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

from whet.core.net import Net
from whet.support.structure import tensors

Inputs = tuple[Tensor, ...]
Step = Callable[[fx.Node], None]
HELD = ("placeholder", "get_attr")
"""Nodes that take no computing."""

ROUNDED = 1e-4
"""Of the norm of outputs: they differ by no more where they are computed in another order."""

VIEWS = {torch.ops.aten.view.default: torch.ops.aten.reshape.default}


@dataclass(frozen=True)
class Checkpoint:
    """What is alive behind a node, by name and batch: `values[i]["layer1"]`."""

    node: str
    values: tuple[dict[str, Any], ...]

    def part(self, rows: slice) -> Checkpoint:
        """Return the same of some of the batches."""
        return Checkpoint(self.node, self.values[rows])


class _Interpreter(fx.Interpreter):
    """Runs views of what lies in memory otherwise than when the net was traced; linear layers at shown places alone.

    Without a mask all places are shown.
    """

    mask: Tensor | None = None

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        layer = self.module.get_submodule(str(target))
        if self.mask is None or not isinstance(layer, nn.Linear) or args[0].shape[:-1] != self.mask.shape:
            return super().call_module(target, args, kwargs)
        shown = self.mask.flatten().nonzero().squeeze(1)
        rows = layer(args[0].flatten(0, -2).index_select(0, shown))
        found = rows.new_zeros(self.mask.numel(), rows.shape[-1]).index_copy_(0, shown, rows)
        return found.view(*self.mask.shape, -1)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return super().call_function(VIEWS.get(target, target), args, kwargs)


def channels_last(x: Tensor) -> Tensor:
    """Return images `(n, c, h, w)` with a position's channels side by side: convolutions read them thrice as fast."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def mask_of(net: Net, inputs: Inputs) -> Tensor | None:
    """Return the input `(rows, ...)` of zeros and ones that is called a mask: what it hides is nothing to solve on."""
    for port, x in zip(net.inputs, inputs, strict=False):
        if "mask" in port.name and x.dim() > 1 and ((x == 0) | (x == 1)).all() and (x == 1).any():
            return x == 1
    return None


_hides: WeakKeyDictionary[fx.GraphModule, bool] = WeakKeyDictionary()


def hides(net: Net, inputs: Inputs) -> bool:
    """Say whether outputs stay the same when linear layers are left out at what a mask hides.

    That is tried once for each net, on the sample with the most hidden. Nets without a mask hide nothing, nor do those
    with batch norms, which may be estimated from all places.
    """
    mask = mask_of(net, inputs)
    norms = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.module.modules())
    if mask is None or mask.all() or norms:
        return False
    if net.module not in _hides:
        most = int(mask.flatten(1).sum(1).argmin())
        sample = tuple(x[most : most + 1] for x in inputs)
        run = _Interpreter(net.module)
        with net.evaluating(), torch.no_grad():
            whole = tensors(run.run(*sample))
            run.mask = mask_of(net, sample)
            parts = tensors(run.run(*sample))
        _hides[net.module] = all(_alike(a, b) for a, b in zip(whole, parts, strict=True))
    return _hides[net.module]


def _alike(one: Tensor, other: Tensor) -> bool:
    """Say whether values differ by rounding alone."""
    one, other = one.double(), other.double()
    return bool((one - other).norm() <= ROUNDED * one.norm())


class Lockstep:
    """A net run on several batches node by node, so that a layer can be changed before anything behind it runs.

    `values[i]` holds what the nodes gave on batch i, as long as a later node reads it. With a checkpoint, whose values
    are those of the same batches, only the nodes behind it run. With `shown`, linear layers are computed at what a mask
    shows alone, and give zero elsewhere, if no output depends on what it hides: padding.
    """

    def __init__(
        self, net: Net, batches: Collection[Inputs], start: Checkpoint | None = None, shown: bool = False
    ) -> None:
        self.net = net
        self.runs = [_Interpreter(net.module) for _ in batches]
        for run, inputs in zip(self.runs, batches, strict=True):
            run.env, run.args_iter = {}, iter(map(channels_last, inputs))
            run.mask = mask_of(net, inputs) if shown and hides(net, inputs) else None
        self.values: list[dict[fx.Node, Any]] = [run.env for run in self.runs]
        nodes = list(net.graph.nodes)
        first = next((i + 1 for i, n in enumerate(nodes) if start is not None and n.name == start.node), 0)
        self.nodes = [n for i, n in enumerate(nodes) if i >= first or n.op in HELD]
        if start is not None:
            for env, known in zip(self.values, start.values, strict=True):
                env |= {n: known[n.name] for n in nodes if n.name in known}

    def run(self, before: Step = lambda node: None, after: Step = lambda node: None) -> list[Any]:
        """Run the net in eval mode, calling `before` and `after` each node; return what it gives for each batch."""
        with self.net.evaluating(), torch.no_grad():
            for node in self.nodes:
                before(node)
                for run in self.runs:
                    run.env[node] = run.run_node(node)
                after(node)
                if node.op == "output":
                    return [run.env[node] for run in self.runs]
                for run in self.runs:
                    for dead in run.user_to_last_uses.get(node, ()):
                        run.env.pop(dead, None)
        raise AssertionError("a graph has an output")


@dataclass(frozen=True)
class Survey:
    """What is alive while a net runs on one sample: the most bytes at once, and behind each node its names and bytes.

    Inputs, parameters and constants do not count.
    """

    most: int
    behind: dict[str, tuple[frozenset[str], int]]


def survey(net: Net, sample: Inputs) -> Survey:
    """Run a net on one sample and count."""
    steps, last, peaks = Lockstep(net, [sample]), "", [0]
    behind: dict[str, tuple[frozenset[str], int]] = {}

    def alive() -> dict[str, int]:
        return {n.name: _bytes(v) for n, v in steps.values[0].items() if n.op not in HELD}

    def before(node: fx.Node) -> None:
        nonlocal last
        now = alive()
        behind[last] = frozenset(now), sum(now.values())
        last = node.name

    steps.run(before=before, after=lambda node: peaks.append(sum(alive().values())))
    return Survey(max(peaks), behind)


def _bytes(value: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors(value))


def limited(batches: Sequence[Inputs], samples: int) -> list[Inputs]:
    """Return the first samples of batches."""
    found = []
    for inputs in batches:
        if samples > 0:
            found.append(tuple(x[:samples] for x in inputs))
        samples -= len(inputs[0])
    return found


def pieces(batches: Iterable[Inputs], rows: int) -> list[Inputs]:
    """Return the same samples in batches of at most so many rows."""
    return [tuple(x[i : i + rows] for x in inputs) for inputs in batches for i in range(0, len(inputs[0]), rows)]


def alive_behind(nodes: Sequence[fx.Node], at: int) -> list[fx.Node]:
    """Return the nodes up to the `at`-th that a later one reads, leaving out what takes no computing."""
    later = set(nodes[at + 1 :])
    return [n for n in nodes[: at + 1] if n.op not in HELD and any(user in later for user in n.users)]


def same_prefix(net: Net, other: Net) -> list[fx.Node]:
    """Return the nodes of `net` in front of the first that `other` has not, or with other arguments or tensors."""
    there = {n.name: n for n in other.graph.nodes}
    found = []
    for node in net.graph.nodes:
        before = there.get(node.name)
        if before is None or node.format_node() != before.format_node() or not _same_tensors(net, other, node):
            break
        found.append(node)
    return found


def _same_tensors(net: Net, other: Net, node: fx.Node) -> bool:
    """Say whether what a node holds is equal in both nets: settings, shapes and values."""
    if node.op == "get_attr":
        one, two = ({"": _attribute(n, str(node.target))} for n in (net, other))
    elif node.op == "call_module":
        layers = [n.layer(str(node.target)) for n in (net, other)]
        if repr(layers[0]) != repr(layers[1]):
            return False
        one, two = (layer.state_dict() for layer in layers)
    else:
        return True
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def _attribute(net: Net, name: str) -> Tensor:
    owner, _, leaf = name.rpartition(".")
    value = getattr(net.module.get_submodule(owner), leaf)
    assert isinstance(value, Tensor)
    return value
