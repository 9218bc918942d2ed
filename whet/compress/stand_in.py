"""Stand-ins: one linear map in the place of a block, solved by least squares on what the block read and gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn

from whet.compress.lockstep import Inputs, Lockstep, limited, mask_of, pieces, survey
from whet.compress.moments import (
    LARGEST,
    MEMORY_BYTES,
    ROWS,
    Sums,
    chosen_rows,
    enough,
    inputs_of,
    least_squares,
)
from whet.compress.repair import DAMPINGS
from whet.compress.solving import IN_PLACE
from whet.core.errors import CalibrationError, DecisionError
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.blocks import Block, analyze_blocks, delete_unread_parameters
from whet.graph.paths import owner_at
from whet.graph.readers import CONVOLUTIONS, find_readers

KIND = "stand_in"
GONE = "no such residual block is left in the network."


@dataclass(frozen=True)
class Form:
    """The map that a block can be replaced by: over the features of `axis`, at every `stride`-th position.

    With `whole` it gives the block's sum, where the shortcut is x itself; otherwise f(x), and the sum stays. `share` is
    what it takes of the branch's multiply-accumulates.
    """

    inputs: int
    outputs: int
    axis: int
    stride: tuple[int, ...]
    whole: bool
    share: float = 0.0

    def read(self, x: Tensor) -> Tensor:
        """Return what the map reads of x, `(rows, ..., features)`: the positions that its stride does not leap over."""
        return x[(slice(None), slice(None), *(slice(None, None, s) for s in self.stride))].movedim(self.axis, -1)

    def start(self) -> Tensor:
        """Return the map that says what a dropped block does, `(1, outputs, inputs)`: y = x, or f(x) = 0."""
        return torch.eye(self.inputs)[None] if self.whole else torch.zeros(1, self.outputs, self.inputs)

    def layer(self, weight: Tensor, bias: Tensor) -> nn.Module:
        """Return the map of a weight `(outputs, inputs)` as a linear layer, or as a convolution of kernel 1."""
        made: nn.Module = nn.Linear(self.inputs, self.outputs)
        if self.stride:
            made = CONVOLUTIONS[len(self.stride) - 1](self.inputs, self.outputs, 1, stride=self.stride)  # type: ignore[arg-type]
        for name, value in (("weight", weight), ("bias", bias)):
            setattr(made, name, nn.Parameter(value.reshape(made.get_parameter(name).shape).contiguous()))
        return made


@dataclass(frozen=True)
class Solved:
    """A stand-in; errors of what it gives and of x plus the mean of f, as shares of the variance of what it should."""

    form: Form
    weight: Tensor
    bias: Tensor
    error: float
    dropped_error: float


@dataclass(frozen=True)
class StandIn:
    """Replace residual blocks by linear maps: y = x + f(x) becomes y = W x + b. `SITE:stand_in`, identity False.

        W, b = argmin E|y - W x - b|^2 + damping * mean E x'^2 * |W - I|^2,   x' = x - E x

    so the error is at most that of dropping f for its mean. W is a linear layer over the features, or in convolutional
    blocks a 1 x 1 convolution, with the block's stride; where the shortcut is not x itself, it stays, and W x + b
    stands for f(x) alone. The damping is that of `whet.compress.repair.DAMPINGS` that errs least on half of the rows
    when solved on the others. A repair behind solves it again, on what it then reads. It comes in front of `depth`,
    which drops what is left: so a repair knows what was dropped in front of a stand-in.

    Offered where the map takes at most `share` of the branch's multiply-accumulates; other blocks are in `skipped`.
    Behind a repair it gains where many blocks go: of ResNet-44, with every second block replaced, accuracy on 1,000
    images was .818, dropped .780, the original's .889. With every fourth it was .874 and .870; with single blocks, and
    in a perceptron on `protein`, nothing was gained. So it is no default. It makes tensors of its own and does not
    nest. Needs inputs, no labels.

    Raises: DecisionError for a share that is none; CalibrationError if the task has no inputs, or a block gives NaN.
    Paper: Shopkhoev et al. 2025, ReplaceMe, which maps what the branch in front of dropped blocks gives, and merges the
    map into that branch; a repair does as much for a dropped block, and a stand-in maps the whole stream.
    """

    samples: int = 256
    share: float = 0.5
    paper = "shopkhoev2025replaceme"
    traits = Traits("structure", needs=("calibration",))

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise DecisionError(f"share must lie in (0, 1]; got {self.share!r}.")

    def space(self, net: Net, target: Target) -> Space:
        return Space([Choice(f"{site}:{KIND}", (False, True), False) for site in self.forms(net)[0]])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return every fourth block replaced, then every second: not those that `depth` tries to drop."""
        blocks, (found, _) = list(analyze_blocks(net).blocks), self.forms(net)
        tried = [Decision({f"{s}:{KIND}": True for s in blocks[first::step] if s in found})
                 for first, step in ((2, 4), (0, 2))]  # fmt: skip
        return [d for d in dict.fromkeys(tried) if len(d)]

    def damages(self, net: Net, run: Run) -> dict[str, list[float]]:
        """Return by choice the error of the block's outputs, in shares of their variance."""
        found = self.solve(net, self.forms(net)[0], run)
        return {f"{site}:{KIND}": [0.0, solved.error] for site, solved in found.items()}

    def shares(self, net: Net, run: Run) -> dict[str, list[dict[str, float]]]:
        """Return by choice, for each of its values, the share of their operations that it leaves layers."""
        blocks, (found, _) = analyze_blocks(net).blocks, self.forms(net)
        return {f"{s}:{KIND}": [{}, dict.fromkeys(blocks[s].layers, form.share)] for s, form in found.items()}

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        wanted = [n.rpartition(":")[0] for n, value in decision.items() if n.endswith(f":{KIND}") and value]
        if not wanted:
            return Result(net.copy())
        smaller, blocks, (found, skipped) = net.copy(), analyze_blocks(net).blocks, self.forms(net)
        solved = self.solve(net, {site: found[site] for site in wanted if site in found}, run)
        for site, each in solved.items():
            _put(smaller, blocks[site], each)
        delete_unread_parameters(smaller.settle(), net)
        texts = {s: f"a linear map: error {e.error:.4f} of what it gives, {e.dropped_error:.4f} dropped"
                 for s, e in solved.items()}  # fmt: skip
        return Result(smaller, changes("linear", texts), {s: skipped.get(s, GONE) for s in wanted if s not in solved})

    def forms(self, net: Net) -> tuple[dict[str, Form], dict[str, str]]:
        """Return by site the map that a block can be replaced by, and why others cannot be."""
        shapes, readers = net.forward_shapes(), find_readers(net)[0]
        found, skipped = dict[str, Form](), dict[str, str]()
        for site, block in analyze_blocks(net).blocks.items():
            form = _form(net, block, shapes[block.entry])
            if form is not None and form.inputs <= LARGEST:
                matrices = {n: readers[n].matrix(net) for n in block.body if n in readers and n in shapes}
                work = sum(m.shape[-1] * math.prod(shapes[n]) for n, m in matrices.items())
                share = form.inputs * math.prod(block.shape) / max(work, 1)
                if share <= self.share:
                    found[site] = replace(form, share=share)
                else:
                    skipped[site] = f"a linear map takes {share:.2f} of its work, more than {self.share:g}."
            else:
                reason = "no map of features at single positions" if form is None else "more inputs than are solved"
                skipped[site] = f"it reads {shapes[block.entry]} and gives {block.shape}: {reason}."
        return found, skipped

    def solve(self, net: Net, forms: Mapping[str, Form], run: Run) -> dict[str, Solved]:
        """Return the stand-ins of some blocks, each solved on what the block reads in this net."""
        if not forms:
            return {}
        blocks, sums = analyze_blocks(net).blocks, {site: (Sums(), Sums()) for site in forms}
        batches = inputs_of(run.task, enough(net, self.samples))
        batches = pieces(batches, max(1, MEMORY_BYTES // max(1, survey(net, limited(batches, 1)[0]).most)))
        for i, inputs in enumerate(batches):
            _collect(net, [(blocks[site], form, sums[site]) for site, form in forms.items()], i, len(batches), inputs)
        return {site: _solved(form, sums[site], site) for site, form in forms.items()}


def _form(net: Net, block: Block, x: tuple[int, ...]) -> Form | None:
    """Return the map of what a block reads, of shape `x`, to what it gives; None where their positions differ.

    Features are on the last axis, or on axis 1 behind a convolution: the last layer of a sequence says which, and of
    larger shapes any layer does, as some move the features to the end and back.
    """
    y, layers = block.shape, [net.layer(name) for name in block.layers]
    mixing = [layer for layer in layers if isinstance(layer, (nn.Linear, *CONVOLUTIONS))]
    convolved = any(isinstance(layer, CONVOLUTIONS) for layer in (mixing if len(y) > 3 else mixing[-1:]))
    whole = block.shortcut == block.entry
    if len(x) != len(y) or not mixing:
        return None
    if not convolved:
        return Form(x[-1], y[-1], -1, (), whole) if x[:-1] == y[:-1] else None
    stride = tuple(max(1, round(a / b)) for a, b in zip(x[2:], y[2:], strict=True))
    fits = all((a - 1) // s + 1 == b for a, b, s in zip(x[2:], y[2:], stride, strict=True))
    return Form(x[1], y[1], 1, stride, whole) if fits and 3 <= len(y) <= 5 else None


def halves(rows: int) -> list[tuple[int, slice]]:
    """Return the first and the last half of the rows of a single batch; a single row is both.

    >>> halves(5), halves(1)
    ([(0, slice(0, 2, None)), (1, slice(2, 5, None))], [(0, slice(0, 1, None)), (1, slice(0, 1, None))])
    """
    middle = max(1, rows // 2)
    return [(0, slice(0, middle)), (1, slice(min(middle, rows - 1), rows))]


def _collect(
    net: Net, items: Sequence[tuple[Block, Form, tuple[Sums, Sums]]], batch: int, batches: int, inputs: Inputs
) -> None:
    """Add what blocks read and gave in one batch: every second batch, or the last half of a single one, is apart."""
    steps, mask, kept = Lockstep(net, [inputs]), mask_of(net, inputs), dict[str, tuple[Tensor, Tensor]]()

    def after(node: fx.Node) -> None:
        for block, form, sums in items:
            if node.name == block.entry:
                x = form.read(steps.values[0][node])
                rows = chosen_rows(batch, x.shape[:-1], math.ceil(ROWS * form.inputs / batches), mask)
                kept[block.site] = rows, x.flatten(0, -2)[rows]
            if node.name == (block.add if form.whole else block.branch):
                rows, x = kept.pop(block.site)
                y = steps.values[0][node].movedim(form.axis, -1).flatten(0, -2)[rows]
                for half, some in ((batch % 2, slice(None)),) if batches > 1 else halves(len(rows)):
                    sums[half].add(x[some][None], y[some][None])

    steps.run(after=after)


def _solved(form: Form, sums: tuple[Sums, Sums], site: str) -> Solved:
    first, second = (each.moments() for each in sums)
    both, start = first.joined(second), form.start()
    if not (both.xx.isfinite().all() and both.yx.isfinite().all()):
        raise CalibrationError(f"block '{site}' reads or gives NaN or infinity on the calibration inputs.")
    weight, _ = least_squares(first, second, start, DAMPINGS)
    bias = (both.y_mean - (weight.double() @ both.mean.unsqueeze(-1)).squeeze(-1)).flatten().float()
    scale = max(float(both.yy.sum()), 1e-30)
    return Solved(form, weight[0], bias, both.error(weight) / scale, both.error(start) / scale)


def _put(net: Net, block: Block, solved: Solved) -> None:
    """Let a stand-in, the layer `SITE_stand_in`, be read in the place of a block's sum or branch."""
    nodes, name = {n.name: n for n in net.graph.nodes}, f"{block.site}_{KIND}"
    owner, leaf = owner_at(net.module, name)
    owner.add_module(leaf, solved.form.layer(solved.weight, solved.bias).train(net.module.training))
    old = nodes[block.add if solved.form.whole else block.branch]
    with net.graph.inserting_before(nodes[block.add]):  # behind the shortcut, which a repair takes off
        made = net.graph.call_module(name, (nodes[block.entry],))
    made.meta = dict(old.meta) | {IN_PLACE: (block.entry, block.add if solved.form.whole else "")}
    old.replace_all_uses_with(made)
