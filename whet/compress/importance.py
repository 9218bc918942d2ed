"""Importance of atoms: which channels, heads or neurons a network can lose first.

A score takes (net, groups, run, samples) and returns, by site, one number per atom, larger is more important.
Sites whose tensors say nothing about the criterion are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whet.compress.elimination import Elimination, order_of_removal
from whet.compress.moments import enough, inputs_of, moments
from whet.core.errors import CalibrationError
from whet.core.net import Net
from whet.core.run import Run
from whet.core.task import Task, rows_of, split
from whet.data.bind import Original
from whet.data.kinds import saliency
from whet.data.rows import first_rows
from whet.graph.axes import AtomGroup, Member, analyze
from whet.graph.last_known import LastKnown, weights_version
from whet.graph.readers import Reader, find_readers
from whet.graph.sides import owner, reads, writes
from whet.support.structure import Tree

Scores = dict[str, NDArray[np.float64]]
Importance = Callable[[Net, Sequence[AtomGroup], Run, int], Scores]


def calibration(task: Task, samples: int) -> Iterator[tuple[tuple[Tensor, ...], Tree]]:
    """Yield the first `samples` samples of the calibration batches, or of the training batches without them.

    A pair a batch: inputs `(rows, ...)` and targets; the last is cut to what is still wanted.

    Raises: CalibrationError if both are missing or empty.
    """
    left = samples
    for batch in task.calibration if task.calibration is not None else task.train or ():
        inputs, targets = split(batch)
        rows = rows_of(inputs)
        yield tuple(i[:left] for i in inputs), first_rows(targets, left, rows)
        left -= rows
        if left <= 0:
            return
    if left == samples:
        raise CalibrationError(f"task '{task.name}' has no calibration or training batches to score atoms on.")


def loss_of(run: Run, outputs: Tree, targets: Tree) -> Tensor:
    """Return the loss, a scalar, that gradients are taken of: the task's, or without labels `saliency`."""
    unlabelled = isinstance(targets, Original)
    return saliency(outputs, run.task.kinds) if unlabelled else run.task.loss(outputs, targets)


def per_atom(values: Tensor, member: Member, size: int) -> NDArray[np.float64]:
    """Sum `values`, shaped as the member's parameter, over all that belongs to each atom; shape (size,)."""
    rows = values.detach().double().movedim(member.dim, 0).flatten(1).sum(1) if values.ndim > 1 else values.double()
    kept = member.atom >= 0
    totals = np.bincount(member.atom[kept], rows.detach().numpy()[kept], minlength=size)
    return totals.astype(np.float64)


def weight_norm(net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
    """Return sqrt(sum_w |W_w[a]|^2 / mean_b |W_w[b]|^2) * sqrt(sum_r |W_r[a]|^2 / mean_b |W_r[b]|^2).

    The first factor runs over the weights that write atom a, the second over those that read it, each divided
    by its layer's mean. So an atom that is never written or never read scores zero, and scaling a neuron's
    input weights up and its output weights down by as much, which changes nothing behind a ReLU, changes no
    order. Norm of filters: Li et al., 2017.
    """

    def side(group: AtomGroup, members: Sequence[Member]) -> NDArray[np.float64]:
        total = np.zeros(group.size)
        for member in members:
            squares = per_atom(net.module.get_parameter(member.parameter) ** 2, member, group.size)
            total += squares / max(float(squares.mean()), 1e-30)
        return np.sqrt(total) if members else np.ones(group.size)

    found: Scores = {}
    for group in groups:
        weights = [m for m in group.members if net.module.get_parameter(m.parameter).ndim > 1]
        if weights:
            inside = [m for m in weights if reads(net, m)]
            found[group.site] = side(group, [m for m in weights if m not in inside]) * side(group, inside)
    return found


def batch_norm_scale(net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
    """Return |gamma| of the batch norms on each atom, each divided by its mean (Liu et al., 2017)."""
    found: Scores = {}
    for group in groups:
        norms = [m for m in group.members if isinstance(owner(net, m), nn.modules.batchnorm._BatchNorm)]
        scales = [m for m in norms if m.parameter.endswith(".weight")]
        if scales:
            gammas = [per_atom(net.module.get_parameter(m.parameter).abs(), m, group.size) for m in scales]
            found[group.site] = np.mean([g / max(float(g.mean()), 1e-30) for g in gammas], axis=0)
    return found


def loss_change(net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
    """Return the first-order change of the loss if an atom is taken away: -sum_r <W_r[a], dL/dW_r[a]>.

    The sum runs over the weights that read the atom (that write it, if none do): scaling these by 1 - t is
    scaling the atom itself. The gradient is that of the mean loss over `samples` samples, in eval mode. Without labels
    it is that of `saliency`: the distance to the original has none at the original.
    Raises: CalibrationError if the task has no data to take a gradient on.
    """
    copy = net.copy().eval()
    seen = 0
    copy.module.zero_grad()
    for inputs, targets in calibration(run.task, samples):
        rows = rows_of(inputs)
        loss = loss_of(run, copy(*inputs), targets)
        (loss * rows).backward()  # type: ignore[no-untyped-call]
        seen += rows
    found: Scores = {}
    for group in groups:
        reading = [m for m in group.members if reads(net, m)] or [m for m in group.members if writes(net, m)]
        weights = [(m, copy.module.get_parameter(m.parameter)) for m in reading]
        changes = [per_atom(w * w.grad / seen, m, group.size) for m, w in weights if w.grad is not None]
        if changes:
            found[group.site] = -np.sum(changes, axis=0)
    return found


def taylor(net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
    """Return the magnitude of `loss_change` (Molchanov et al., 2019)."""
    return {site: np.abs(change) for site, change in loss_change(net, groups, run, samples).items()}


def error_rise(net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
    """Return how far the error of what reads a group has risen when an atom goes, all others solved anew.

    Atoms go one by one, the cheapest first (`whet.compress.elimination`), so the order is that of a greedy choice that
    knows what the atoms left make up for, and narrower cuts nest in wider ones. The error is the share of the readers'
    output variance that is lost, over `samples` samples; no labels are used. Groups that no layer reads which could be
    solved get their `weight_norm`: queries and keys, states of recurrent layers; so do all where there is no
    task, or one without inputs. Groups that the original (`run.teacher`) has as they are have its scores, taken once.

    Optimal Brain Surgeon: Hassibi and Stork, 1993; by blocks, layer by layer: Frantar and Alistarh, 2022 (OBC), and
    Kurtic et al., 2023 (ZipLM).
    """
    found = rises(net, groups, run, samples)
    return found | weight_norm(net, [g for g in groups if g.site not in found], run, samples)


def rises(net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
    """Return `error_rise` of the groups that layers read which can be solved; of none where there are no inputs."""
    if run.task is None or (run.task.calibration is None and run.task.train is None):
        return {}
    known = _original_rises(net if run.teacher is None else run.teacher, run, samples)
    found = {g.site: known[g.site] for g in groups if len(known.get(g.site, ())) == g.size}
    return found | solved_rises(net, [g for g in groups if g.site not in found], run, samples)


_known = LastKnown[Scores]()


def _original_rises(net: Net, run: Run, samples: int) -> Scores:
    """Return the scores of all groups of a network, taken anew only when its weights or the samples have changed."""
    version = weights_version(net), samples
    return _known.of(net, version, lambda: solved_rises(net, list(analyze(net).groups.values()), run, samples))


def solved_rises(net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
    """Return `error_rise` of the groups that layers read which can be solved, taken anew."""
    by_weight = {reader.weight: reader for reader in find_readers(net)[0].values()}
    reading = {g.site: [(by_weight[m.parameter], m) for m in g.members if _solvable(net, m, by_weight)] for g in groups}
    readers = {reader.node: reader for pairs in reading.values() for reader, _ in pairs}
    found = moments(net, inputs_of(run.task, enough(net, samples)), list(readers.values())) if readers else {}
    scores: Scores = {}
    for group in groups:
        parts = [
            Elimination(reader.matrix(net), found[reader.site], reader.columns(net, torch.from_numpy(member.atom)))
            for reader, member in reading[group.site]
            if reader.site in found
        ]
        if parts:
            scores[group.site] = order_of_removal(parts, group.size)
    return scores


def _solvable(net: Net, member: Member, readers: Mapping[str, Reader]) -> bool:
    """Say whether the member is the input side of a reader whose groups, if it has several, the cut leaves alone."""
    reader = readers.get(member.parameter)
    if reader is None or not reads(net, member):
        return False
    return reader.kind != "transposed" or getattr(owner(net, member), "groups", 1) == 1
