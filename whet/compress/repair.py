"""Repair: what a cut took from a network is solved back into the layers that are left, without training."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from whet.compress.lockstep import Checkpoint, Inputs, Lockstep
from whet.compress.moments import enough, inputs_of
from whet.compress.reference import NORMS, Reference
from whet.compress.solving import Solving
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Decision, Space
from whet.core.target import Target
from whet.graph.last_known import LastKnown, weights_version
from whet.support.structure import tensors

DAMPINGS = (1e-8, 1e-5, 1e-3, 1e-2, 1e-1, 1.0)
"""The choices of every layer. On ResNet-44 at half of the channels the error of the logits on validation images was
.1146 with 1e-3 for all and .1079 with 1e-2; a net without redundancy lost needs next to none."""

NORM_BATCHES = 1
"""Batches that statistics are estimated on."""

FEW = 16
"""Held-out samples that a net is judged by first."""

FAR = 1.5
"""Times the solved net's error on these that ends a judgement."""


@dataclass(frozen=True)
class Repair:
    """Solve the layers that read what a structural pass has cut; it stands behind those passes in a chain.

    In the order of execution, each on what the cut network gives it, errors of earlier layers and all:

        W', b' = argmin E|t - W' x' - b'|^2 + damping * mean E x'^2 * |W' - W|^2

    x' is what the layer reads now, W its weights as the cut left them, and t what the *original* gave at the same
    positions: the layer's own outputs or, where they are added to a shortcut s' (behind a batch norm or not), the
    original's sum less s', so that what is lost in front is made up for in the residual stream. Without a bias, a batch
    norm behind the layer takes b' into its mean. Solved are layers whose inputs were cut, the last ones before the
    outputs and, where blocks were dropped, all behind them that write to a sum. Each layer takes the damping of
    `dampings` that errs least on every second batch when solved on the others.

    On the last quarter of the samples, which no layer is solved on, the network as it was cut, the repaired one and the
    repaired one with batch-norm statistics estimated again are compared by the error of the outputs, and the best is
    taken. Needs inputs, no labels, and the original (`run.teacher`), whose outputs are collected once.

    Paper: He et al. 2017, Channel Pruning for Accelerating Very Deep Neural Networks, which solves readers so; Kwon et
    al. 2022 solve masks of heads and neurons alike, layer by layer.
    """

    samples: int = 256
    dampings: tuple[float, ...] = DAMPINGS
    paper = "he2017channel"
    traits = Traits("weights", needs=("calibration",))

    def space(self, net: Net, target: Target) -> Space:
        return Space()

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        if run.teacher is None:
            return Result(net.copy(), skipped={"network": "there is no original to repair it by."})
        return repaired(reference_of(run.teacher, run, self.samples), net, self.dampings)


_references = LastKnown[Reference]()


def reference_of(net: Net, run: Run, samples: int) -> Reference:
    """Return the reference of a network, collected at the first call; three quarters of the samples are solved on."""
    return _references.of(net, (weights_version(net), samples), lambda: _collected(net, run, enough(net, samples)))


def _collected(net: Net, run: Run, samples: int) -> Reference:
    solved, held = parted(inputs_of(run.task, samples), samples - samples // 4)
    few, more = parted(held, FEW)
    return Reference.of(net, solved, [*few, *more])


def parted(batches: Sequence[Inputs], first: int) -> tuple[list[Inputs], list[Inputs]]:
    """Return the batches of the first samples and of the others; of few samples one at least is among the others.

    >>> [[len(x) for x, in part] for part in parted([(torch.zeros(4, 1),), (torch.zeros(4, 1),)], 6)]
    [[4, 2], [2]]
    """
    total = sum(len(inputs[0]) for inputs in batches)
    first = max(1, min(first, total - max(1, total // 4)))
    parts: tuple[list[Inputs], list[Inputs]] = [], []
    for inputs in batches:
        here = max(0, min(first, len(inputs[0])))
        first -= here
        for part, rows in zip(parts, (slice(None, here), slice(here, None)), strict=True):
            if len(inputs[0][rows]):
                part.append(tuple(x[rows] for x in inputs))
    return parts


def repaired(reference: Reference, net: Net, dampings: Sequence[float] = DAMPINGS) -> Result:
    """Return `net`, a cut of the reference's network, with its readers solved; see `Repair`."""
    work = Solving(reference, net.copy(), dampings)
    work.run()
    return best(reference, net, work)


def best(reference: Reference, net: Net, work: Solving) -> Result:
    """Return the cut net, the solved one or that with norms estimated again: which errs least on held-out inputs."""
    said = work.skipped | ({"calibration": reference.note} if reference.note else {})
    if not work.touched:
        return Result(net.copy())
    start = work.start[1] if work.start else None
    given = answers(work.net, reference.held, start)
    after, few = error_of(reference, given), error_of(reference, given[:1])
    before, again = _contested(reference, net, few, start), math.inf
    normed = renormed(work, few)
    if normed is not None:
        again = _contested(reference, normed, few, start)
    if not min(after, again) < before:
        reason = f"on held-out inputs the outputs' error is {after:.4f} solved, {before:.4f} as it was cut."
        return Result(net.copy(), (), said | {"network": reason})
    changed = {site: f"solved: {text}" for site, text in work.changed.items()}
    if normed is not None and again < after:
        changed["batch norms"] = f"statistics estimated again: error of the outputs {again:.4f}, {after:.4f} without"
        return Result(normed, changes("repaired", changed), said)
    return Result(work.net, changes("repaired", changed), said)


def _contested(reference: Reference, net: Net, few: float, start: Checkpoint | None) -> float:
    """Return the outputs' error; infinity if on the first held-out batch it is far above that of the solved net."""
    first, more = slice(0, 1), slice(1, None)
    given = answers(net, reference.held[first], start and start.part(first))
    if error_of(reference, given) > FAR * few:
        return math.inf
    return error_of(reference, given + answers(net, reference.held[more], start and start.part(more)))


def output_error(reference: Reference, net: Net) -> float:
    """Return the outputs' squared error on held-out inputs as a share of their variance, the mean over outputs."""
    return error_of(reference, answers(net, reference.held))


def answers(net: Net, batches: Sequence[Inputs], start: Checkpoint | None = None) -> list[list[Tensor]]:
    """Return what a net gives for each batch: a tensor an output, of the shape `(rows, ...)`."""
    found = []
    for i, inputs in enumerate(batches):
        found.append(tensors(Lockstep(net, [inputs], start and start.part(slice(i, i + 1)), shown=True).run()[0]))
    return found


def error_of(reference: Reference, given: Sequence[Sequence[Tensor]]) -> float:
    """Return the error, as `output_error` does, of what was given for the first held-out batches, `(rows, ...)`."""
    errors = []
    for i, answer in enumerate(zip(*reference.answers[: len(given)], strict=True)):
        if answer[0].is_floating_point():
            parts = [(a.double(), given[j][i].double()) for j, a in enumerate(answer)]
            middle = torch.cat([a for a, _ in parts]).mean(0) if len({a.shape[1:] for a, _ in parts}) == 1 else 0
            error = sum(float((a - b).square().sum()) for a, b in parts)
            errors.append(error / max(sum(float((a - middle).square().sum()) for a, _ in parts), 1e-30))
    return sum(errors) / max(1, len(errors))


def renormed(work: Solving, few: float) -> Net | None:
    """Return the solved net with the norms that a cut reached estimated again; None if that promises nothing.

    It promises nothing if the first held-out batch, normed by its own statistics, errs no less than `few`.
    """
    reference, start = work.reference, work.start
    if not _norms(work.net, work.touched):
        return None
    first, some = slice(0, 1), slice(0, NORM_BATCHES)
    _, given = estimated(work.net, reference.held[first], work.touched, start and start[1].part(first))
    if not error_of(reference, given) < few:
        return None
    return estimated(work.net, reference.batches[some], work.touched, start and start[0].part(some))[0]


def estimated(
    net: Net, batches: Sequence[Inputs], touched: Collection[str], start: Checkpoint | None = None
) -> tuple[Net, list[list[Tensor]]]:
    """Return a copy whose touched batch norms have the statistics of what they read, and what it gives, `(n, ...)`."""
    copied = net.copy()
    norms = _norms(copied, touched)
    steps = Lockstep(copied, batches, start)

    def estimate(node: fx.Node) -> None:
        if node.name not in norms:
            return
        layer, source = norms[node.name], node.args[0]
        assert isinstance(source, fx.Node) and layer.running_mean is not None and layer.running_var is not None
        values = torch.cat([env[source] for env in steps.values])
        others = [d for d in range(values.dim()) if d != 1]
        mean = values.mean(others, keepdim=True)  # `Tensor.var` takes ten times as long over these axes
        layer.running_mean.copy_(mean.flatten())
        layer.running_var.copy_((values - mean).square_().sum(others) / max(1, values[:, 0].numel() - 1))

    return copied, [tensors(out) for out in steps.run(before=estimate)]


def _norms(net: Net, touched: Collection[str]) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """Return the batch norms with running statistics among some nodes."""
    found: dict[str, nn.modules.batchnorm._BatchNorm] = {}
    for node in net.graph.nodes:
        layer = net.layer(str(node.target)) if node.op == "call_module" and node.name in touched else None
        if isinstance(layer, NORMS) and layer.running_mean is not None:
            found[node.name] = layer
    return found
