"""`bind`: a task's collections, loss and metric made for one network, and checked before anything is timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from whet.core.errors import TaskError
from whet.core.kinds import Kind
from whet.core.net import Net
from whet.core.task import (
    COLLECTIONS,
    DROPPED,
    Batches,
    Loss,
    Metric,
    Task,
    length_of,
    no_loss,
    no_metric,
    rows_of,
)
from whet.data.batches import Bound, Canonical, Inputs, bound
from whet.data.kinds import apart, kinds_of, likeness
from whet.data.memory import TeacherMemory
from whet.data.rows import by_length, has_rows
from whet.support.structure import Tree, mapped_by_path, tensors


@dataclass
class Original:
    """What stands for the targets of a batch without labels: the outputs of the original network."""

    outputs: Tree


def bind(task: Task, net: Net) -> Task:
    """Return the task for `net`: batches `(inputs, targets)` as it takes them, loss and metric as the user wrote them.

    A batch may be `(inputs, targets)`, `[inputs, targets]`, `(inputs, targets, index)`, `(first, second, targets)` for
    a net with two inputs, a dictionary with the net's names or usual ones, or inputs alone; tensors, arrays or numbers.
    One batch of each collection is checked: number, shapes and dtypes of the inputs, the loss and the metric once.

    Without labels, targets are `Original`, the metric is agreement with `net` (`likeness`) and the loss the distance to
    it. A bound task is returned as it is. Raises: TaskError that names collection, batch, what was given and expected.
    """
    if task.bound:
        return task
    canonical = Canonical.of(net, task.name)
    with torch.random.fork_rng(devices=[]):  # loaders that shuffle draw from torch's generator
        samples = {name: _first(task, name, canonical) for name in COLLECTIONS if getattr(task, name) is not None}
    checked = _Checked(task, net, canonical, samples)
    memory = TeacherMemory(net)
    collections: dict[str, Any] = {name: checked.collection(name, memory) for name in samples}
    return replace(
        task,
        **collections,
        **checked.metric(),
        loss=BoundLoss(task.loss, checked.canonical, checked.kinds),
        kinds=checked.kinds,
        labels=checked.labelled["val"],
        quality_note=checked.note(),
        bound=True,
        glance=checked.glance,
    )


class _Checked:
    """What one batch of each collection shows: the reading that holds the targets, labels or none, kinds of outputs."""

    def __init__(
        self, task: Task, net: Net, canonical: Canonical, samples: dict[str, tuple[Inputs, list[Tree]]]
    ) -> None:
        self.task, self.net, self.canonical, self.samples = task, net, canonical, samples
        self.takes: dict[str, int] = {}
        with net.evaluating(), torch.no_grad():
            self.outputs = {name: net(*inputs) for name, (inputs, _) in samples.items() if name != "calibration"}
        self.labelled = {name: readings[0] is not None for name, (_, readings) in samples.items()}
        self._needs()
        self.own = not any(self.labelled.values()) and self._works_without_targets()
        if self.own:
            self.labelled = dict.fromkeys(samples, True)
        for name in self.outputs:
            if self.labelled[name]:
                self._choose(name)
        self.kinds = self._kinds()
        self.glance = self._glance()

    def _needs(self) -> None:
        """Raise if labels are there and nothing to use them with."""
        name = self.task.name
        if self.labelled.get("train") and self.task.loss is no_loss:
            raise TaskError(
                f"task '{name}' has training labels but no loss: give loss=..., or batches without labels to distil "
                "from the original alone."
            )
        if self.labelled["val"] and self.task.metric is no_metric:
            raise TaskError(
                f"task '{name}' has validation labels but no metric: give metric=..., or batches without labels to "
                "measure agreement with the original."
            )

    def _works_without_targets(self) -> bool:
        """Say whether loss and metric need no targets, as those of autoencoders that give their own loss."""
        if self.task.loss is no_loss or self.task.metric is no_metric:
            return False
        outputs = self.canonical.outputs_outside(self.outputs["val"])
        try:
            return bool(torch.isfinite(self.task.loss(outputs, None))) and math.isfinite(self.task.score(outputs, None))
        except Exception:  # the user's functions may raise anything when they are given no targets
            return False

    def _choose(self, name: str) -> None:
        """Find the first reading of a batch that its use can be computed with: training's loss, the others' metric."""
        inputs, readings = self.samples[name]
        first: TaskError | None = None
        for take in range(len(readings)):
            canonical = replace(self.canonical, axes=dict(self.canonical.axes))
            try:
                self._compute(canonical, name, inputs, readings[take])
            except TaskError as error:
                first = first or error
                continue
            self.canonical.axes.update(canonical.axes)
            self.takes[name] = take
            return
        assert first is not None
        raise first

    def _compute(self, canonical: Canonical, name: str, inputs: Inputs, given: Tree) -> None:
        where = f"{name}, batch 0"
        outputs = canonical.outputs_outside(self.outputs[name])
        wanted = canonical.targets_outside(canonical.targets(given, rows_of(inputs), where))
        if name == "train":
            loss = self._called("loss", where, lambda: self.task.loss(_with_gradient(outputs), wanted), outputs, wanted)
            _check_loss(loss, f"task '{self.task.name}', {where}")
        else:
            self._called("metric", where, lambda: self.task.score(outputs, wanted), outputs, wanted)

    def of(self, name: str) -> Canonical:
        """Return what makes a collection's batches canonical; calibration reads its targets as training does."""
        like = name if name in self.takes else "train" if "train" in self.takes else "val"
        return replace(self.canonical, take=self.takes.get(like, 0), axes=self.canonical.axes)

    def _inside(self, name: str) -> Tree:
        """Return the targets of a collection's first batch."""
        (inputs, readings), canonical = self.samples[name], self.of(name)
        return canonical.targets(readings[min(canonical.take, len(readings) - 1)], rows_of(inputs), f"{name}, batch 0")

    def _called(self, what: str, where: str, call: Callable[[], Any], outputs: Tree, targets: Tree) -> Any:
        try:
            return call()
        except TaskError:
            raise
        except Exception as error:
            text = (str(error).splitlines() or [""])[0][:300]
            raise TaskError(
                f"task '{self.task.name}', {where}: the {what} cannot be computed from outputs {described(outputs)} "
                f"and targets {described(targets)}: {type(error).__name__}: {text}"
            ) from error

    def _kinds(self) -> tuple[Kind, ...]:
        name = next((n for n in ("train", "val") if self.labelled.get(n)), "val")
        outputs, loss = self.outputs[name], None
        count = len(tensors(outputs))
        if self.task.kinds:
            if len(self.task.kinds) != count:
                raise TaskError(f"task '{self.task.name}' names {len(self.task.kinds)} kinds for {count} outputs.")
            return self.task.kinds
        targets = None
        if self.labelled[name] and not self.own:
            targets = self._inside(name)
            loss = BoundLoss(self.task.loss, self.canonical, ()) if name == "train" else None
        elif self.task.loss is not no_loss and isinstance(outputs, Tensor) and outputs.dim() == 2:
            with suppress(Exception):  # a loss that takes classes tells that these are logits
                return kinds_of(outputs, outputs.argmax(1), BoundLoss(self.task.loss, self.canonical, ()))
        return kinds_of(outputs, targets, loss)

    def collection(self, name: str, memory: TeacherMemory) -> Bound:
        """Return a collection's canonical batches; batches in memory are all looked at, since that takes no time."""
        source = getattr(self.task, name)
        batches = bound(source, self.of(name), name)
        if isinstance(source, list | tuple):
            for _ in batches:
                pass
        return batches if self.labelled[name] else _taught(batches, self.net, memory)

    def metric(self) -> dict[str, Any]:
        if self.labelled["val"]:
            return {"metric": BoundMetric(self.task.metric, self.canonical), "metric_name": self._metric_name()}
        name, _, direction = likeness(self.outputs["val"], self.outputs["val"], self.kinds)
        metric = BoundMetric(lambda outputs, targets: likeness(outputs, targets, self.kinds)[1], self.canonical)
        return {"metric": metric, "metric_name": name, "direction": direction, "drop": "absolute"}

    def _metric_name(self) -> str:
        """Return the name of the one number that a metric returns in a dictionary, where the user named none."""
        value = self.task.metric(self.canonical.outputs_outside(self.outputs["val"]), self._wanted("val"))
        one = isinstance(value, dict) and len(value) == 1 and self.task.metric_name == "accuracy"
        return str(next(iter(value))) if one else self.task.metric_name

    def _glance(self) -> float:
        """Return the metric on the first validation batch; without labels, that of agreement with itself."""
        outputs = self.outputs["val"]
        if not self.labelled["val"]:
            return likeness(outputs, outputs, self.kinds)[1]
        return self.task.score(self.canonical.outputs_outside(outputs), self._wanted("val"))

    def _wanted(self, name: str) -> Tree:
        """Return the targets of a collection's first batch as the loss and metric take them."""
        return self.canonical.targets_outside(self._inside(name))

    def note(self) -> str:
        """Say what stands in for labels that are missing, and where quality is no metric of outputs."""
        notes = []
        if self.task.played is not None:
            notes.append("Quality is the mean return of fixed episodes, played with the file in its runtime.")
        if not self.labelled["val"]:
            name = likeness(self.outputs["val"], self.outputs["val"], self.kinds)[0]
            kinds = ", ".join(map(str, self.kinds))
            notes.append(f"The validation data have no labels: quality is {name} with the original ({kinds}).")
        if not self.labelled.get("train", True):
            notes.append("The training data have no labels: training is distillation from the original alone.")
        return " ".join(notes)


class Taught(Bound):
    """Batches without labels: targets are the outputs of the original, each batch's computed once."""

    def __init__(self, batches: Bound, net: Net, memory: TeacherMemory) -> None:
        super().__init__(batches, batches.canonical, batches.where)
        self.net, self.memory = net, memory

    def __iter__(self) -> Iterator[tuple[Inputs, Tree]]:
        for inputs, _ in self.source:
            yield inputs, Original(self.memory.outputs(inputs, partial(self._outputs, inputs)))

    def _outputs(self, inputs: Inputs) -> Tree:
        with self.net.evaluating(), torch.no_grad(), torch.autocast("cpu", enabled=False):
            return self.net(*inputs)

    def at_epoch(self, epoch: int) -> Bound:
        """Return the batches of one epoch, with the original's outputs as their targets."""
        source = self.source
        assert isinstance(source, Bound)
        return _taught(source.at_epoch(epoch), self.net, self.memory)


class SizedTaught(Taught):
    """The same for batches whose number is known."""

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]


def _taught(batches: Bound, net: Net, memory: TeacherMemory) -> Bound:
    return (Taught if length_of(batches) is None else SizedTaught)(batches, net, memory)


@dataclass(frozen=True)
class BoundLoss:
    """The user's loss of outputs and targets in their own structure and layout; without labels the distance."""

    loss: Loss
    canonical: Canonical
    kinds: Sequence[Kind]

    def __call__(self, outputs: Tree, targets: Tree) -> Tensor:
        if isinstance(targets, Original):
            return apart(outputs, targets.outputs, self.kinds)
        value = self.loss(self.canonical.outputs_outside(outputs), self.canonical.targets_outside(targets))
        return value if value.dim() == 0 else value.reshape(())


@dataclass(frozen=True)
class BoundMetric:
    """The user's metric of outputs and targets in their own structure and layout.

    Where lengths differ from batch to batch, the metric is computed for the rows of each length and the mean taken,
    each weighted by its number of outputs.
    """

    metric: Metric
    canonical: Canonical

    def __call__(self, outputs: Tree, targets: Tree) -> Any:
        # The original's outputs lie as the net's do, batch first.
        own = isinstance(targets, Original)
        wanted, compute = (targets.outputs, self.metric) if own else (targets, self._one)
        if not has_rows(outputs):
            return compute(outputs, wanted)
        groups = by_length(outputs, wanted)
        weights = [sum(t.numel() for t in tensors(group[0])) for group in groups]
        values = [compute(*group) for group in groups]
        if isinstance(values[0], dict):
            return {key: _mean([v[key] for v in values], weights) for key in values[0]}
        return _mean(values, weights)

    def _one(self, outputs: Tree, targets: Tree) -> Any:
        return self.metric(self.canonical.outputs_outside(outputs), self.canonical.targets_outside(targets))


def _mean(values: list[Any], weights: list[int]) -> float:
    return sum(float(v) * w for v, w in zip(values, weights, strict=True)) / max(sum(weights), 1)


def _first(task: Task, name: str, canonical: Canonical) -> tuple[Inputs, list[Tree]]:
    """Return inputs and readings of the first batch of a collection, or say why there is none."""
    batches: Batches = getattr(task, name)
    check_collection(task.name, name, batches)
    reader = iter(batches)
    found = next(reader, None)
    if found is None:
        raise TaskError(f"task '{task.name}': {name} gives no batch; {DROPPED}")
    if not isinstance(batches, torch.utils.data.DataLoader) and iter(batches) is reader:
        raise TaskError(
            f"task '{task.name}': {name} gives the same iterator each time, so it can be read once only. "
            f"Give a list: {name}=list(...)."
        )
    return canonical.readings(found, f"{name}, batch 0")


def _with_gradient(outputs: Tree) -> Tree:
    """Return outputs that a loss can be differentiated by."""

    def leaf(path: str, value: Any) -> Any:
        known = isinstance(value, Tensor) and value.is_floating_point()
        return value.detach().clone().requires_grad_() if known else value

    return mapped_by_path(leaf, outputs)


def _check_loss(loss: Any, where: str) -> None:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TaskError(f"{where}: the loss must be a tensor with one number; got {got}. Take its mean.")
    if not torch.isfinite(loss):
        raise TaskError(f"{where}: the loss of the given network is {float(loss)}.")
    if not loss.requires_grad:
        raise TaskError(f"{where}: the loss does not depend on the outputs in a way that has a gradient.")


def described(tree: Tree) -> str:
    """Return shapes and dtypes of a tree, for errors.

    >>> described((torch.zeros(2, 3), ["a", "b"]))
    '{0: (2, 3) float32, 1: list of 2}'
    """

    def text(leaf: Any) -> str:
        if isinstance(leaf, Tensor):
            return f"{tuple(leaf.shape)} {str(leaf.dtype).removeprefix('torch.')}"
        return f"list of {len(leaf)}" if isinstance(leaf, list) else type(leaf).__name__

    found: list[str] = []
    mapped_by_path(lambda path, leaf: found.append(f"{path}: {text(leaf)}" if path else text(leaf)), tree)
    return found[0] if len(found) == 1 else "{" + ", ".join(found[:8]) + "}"


def check_collection(task: str, name: str, batches: Any) -> None:
    """Raise `TaskError` for what cannot be read again and again, as a search must."""
    if batches is None:
        return
    if isinstance(batches, Iterator):
        raise TaskError(
            f"task '{task}': {name} is a {type(batches).__name__}, which can be read once only, and a search reads it "
            f"many times. Give a list: {name}=list(...), or a DataLoader."
        )
    if isinstance(batches, str | bytes | Mapping | Tensor) or not isinstance(batches, Iterable | Sequence):
        sampled = hasattr(batches, "__getitem__") and hasattr(batches, "__len__") and not isinstance(batches, Tensor)
        hint = " Give a DataLoader of it." if sampled and not isinstance(batches, str | bytes | Mapping) else ""
        raise TaskError(f"task '{task}': {name} must be a collection of batches; got {type(batches).__name__}.{hint}")
