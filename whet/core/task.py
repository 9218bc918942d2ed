"""`Task`: data, loss, metric. Plain values; the search sees `train`, `val` and `calibration` only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from whet.core.errors import TaskError, unknown
from whet.core.kinds import KINDS, Kind
from whet.support.structure import Tree, joined, mapped

Batch = Any
Batches = Iterable[Batch]
Loss = Callable[[Any, Any], Tensor]
Metric = Callable[[Any, Any], Any]
Played = Callable[[Callable[..., Tree], str], Tensor]
COLLECTIONS = ("val", "train", "test", "calibration")
CHOICES: dict[str, tuple[str, ...]] = {"direction": ("max", "min"), "drop": ("absolute", "relative")}


def rows_of(inputs: Sequence[Tensor]) -> int:
    """Return the number of samples of a batch by its inputs; targets may have any structure.

    >>> rows_of((torch.zeros(8, 3), torch.zeros(8)))
    8
    """
    return len(inputs[0])


def length_of(batches: object) -> int | None:
    """Return the number of batches, or None where the collection does not know it: a stream, a plain iterable.

    >>> length_of([1, 2]), length_of(map(str, [1, 2]))
    (2, None)
    """
    try:
        return len(batches)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def split(batch: Batch) -> tuple[tuple[Tensor, ...], Tree]:
    """Return the inputs of a batch `(inputs, targets)` as a tuple, and its targets."""
    inputs, targets = batch
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), targets


def first_inputs(batches: Batches, samples: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the inputs, `(rows, ...)` each, of whole batches until they hold at least `samples` samples."""
    for batch in batches:
        inputs, _ = split(batch)
        yield inputs
        samples -= rows_of(inputs)
        if samples <= 0:
            return


def no_loss(outputs: Tree, targets: Tree) -> Tensor:
    """Stand for a loss, a scalar, that was not given: raise TaskError that says how to give one."""
    raise TaskError("this task has no loss: give Task(loss=...), for instance torch.nn.functional.cross_entropy.")


def no_metric(outputs: Tree, targets: Tree) -> float:
    """Stand for a metric that was not given."""
    raise TaskError("this task has no metric: give Task(metric=...), for instance whet.accuracy.")


@dataclass(frozen=True)
class Task:
    """Data with a loss and a metric.

    `train`, `val`, `test` and `calibration` are re-iterable collections of batches as loaders yield them: `(inputs,
    targets)`, dictionaries, inputs alone; `whet.data.bind` says which. If a collection has a method `at_epoch(epoch)`,
    the training loop calls it for that epoch's batches, which makes an interrupted training resume exactly. `loss` and
    `metric` take the network's outputs, in its own structure, and the targets as the loader gives them; `metric` is
    computed once over all outputs and targets, and returns a number or a dictionary with one. Without `train` nothing
    is trained. Without labels quality is agreement with the original and training is distillation from it.
    `drop` says how a limit such as `max_drop` reads: `absolute` (0.01 is one point of accuracy) or `relative` (0.01 is
    one per cent of the reference). `kinds` says what each output means (`logits`, `embedding`, ...) where that is not
    to be told from the data.
    `labels`, `quality_note` and `bound` are filled in when the task is bound to a network.
    Raises: TaskError and UnknownNameError for values that cannot be meant.
    """

    name: str
    train: Batches | None
    val: Batches
    loss: Loss = no_loss
    metric: Metric = no_metric
    test: Batches | None = None
    calibration: Batches | None = None
    metric_name: str = "accuracy"
    direction: Literal["max", "min"] = "max"
    drop: Literal["absolute", "relative"] = "absolute"
    kinds: tuple[Kind, ...] = ()
    labels: bool = True
    played: Played | None = None
    """Plays fixed episodes of `val` or `test` with a network: returns (episodes,), whose mean is then the quality."""
    quality_note: str = ""
    bound: bool = False
    glance: float = math.nan
    """The metric of the network as it came, on the first validation batch: enough to tell the metric's scale."""

    def __post_init__(self) -> None:
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise unknown(field, str(getattr(self, field)), allowed)
        for field in ("name", "metric_name"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field):
                raise TaskError(f"{field} of a task must be text; got {getattr(self, field)!r:.80}.")
        for field, missing in (("loss", no_loss), ("metric", no_metric)):
            if getattr(self, field) is None:
                object.__setattr__(self, field, missing)
            if not callable(getattr(self, field)):
                raise TaskError(
                    f"{field} of task '{self.name}' must be a function of (outputs, targets); "
                    f"got {getattr(self, field)!r:.80}."
                )
        object.__setattr__(self, "kinds", named_kinds(self.kinds))
        if self.val is None or length_of(self.val) == 0:
            raise TaskError(
                f"task '{self.name}' has no validation data: the search would have nothing to choose by. "
                + ("val gives no batch; " + DROPPED if self.val is not None else "")
            )

    @property
    def training(self) -> Batches:
        """The training data; raises TaskError without any."""
        if self.train is None:
            raise TaskError(f"task '{self.name}' has no training data.")
        return self.train

    def score(self, outputs: Tree, targets: Tree) -> float:
        """Return the metric as a finite float, or raise `TaskError`."""
        value = self.metric(outputs, targets)
        if isinstance(value, Mapping):
            value = value[self._named(value)]
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise TaskError(
                f"metric '{self.metric_name}' of task '{self.name}' must return a number; "
                f"got {type(value).__name__} {value!r:.80}."
            ) from None
        if not math.isfinite(number):
            raise TaskError(f"metric '{self.metric_name}' of task '{self.name}' returned {number}.")
        return number

    def _named(self, values: Mapping[str, Any]) -> str:
        """Return the key of the one number that counts: the only one, or that of `metric_name`."""
        found = [k for k in values if k in (self.metric_name, f"eval_{self.metric_name}")] or list(values)
        if len(found) != 1:
            raise TaskError(
                f"the metric of task '{self.name}' returns {', '.join(map(str, values)) or 'nothing'}: say with "
                "metric_name which of them counts."
            )
        return found[0]

    def loss_of_quality(self, value: float, reference: float) -> float:
        """Return how much worse `value` is than `reference`, in the unit of `max_drop`; negative is better."""
        worse = reference - value if self.direction == "max" else value - reference
        return worse if self.drop == "absolute" else worse / max(abs(reference), 1e-12)

    def better(self, a: float, b: float) -> bool:
        """Say whether `a` is the better value of the metric, by its direction; equal ones are not."""
        return a > b if self.direction == "max" else a < b


DROPPED = "a loader with drop_last gives none if it has fewer samples than a batch."


def named_kinds(kinds: Any) -> tuple[Kind, ...]:
    """Return kinds from names: `"embedding"`, `("logits", "regression")`, or kinds themselves."""
    if kinds is None:
        return ()
    given = (kinds,) if isinstance(kinds, str | Kind) else tuple(kinds)
    for kind in given:
        if not isinstance(kind, str | Kind):
            raise TaskError(f"kinds must be names among {', '.join(KINDS)}, or Kind(...); got {kind!r:.80}.")
    return tuple(kind if isinstance(kind, Kind) else Kind(kind) for kind in given)


@torch.no_grad()
def predict(run: Callable[..., Tree], batches: Batches, limit: int | None = None) -> tuple[Tree, Tree]:
    """Return outputs and targets of `run` over the first `limit` samples of `batches`, joined."""
    outputs, targets, seen = [], [], 0
    for batch in batches:
        inputs, target = split(batch)
        outputs.append(floats(run(*inputs)))
        targets.append(target)
        seen += rows_of(inputs)
        if limit is not None and seen >= limit:
            break
    if not outputs:
        raise TaskError("there are no batches to predict on.")
    return joined(outputs), joined(targets)


def floats(outputs: Tree) -> Tree:
    """Return outputs with their floating-point tensors in f32, as losses and metrics take them."""
    return mapped(lambda x: x.float() if isinstance(x, Tensor) and x.is_floating_point() else x, outputs)


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Top-1 accuracy, the share of rows whose largest output is the target, in [0, 1].

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """
    return float((outputs.argmax(-1) == targets).float().mean())
