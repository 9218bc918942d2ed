"""How good a finished file is: a task's metric, from the file in its runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from whet.core.errors import TaskError
from whet.core.net import Net
from whet.core.target import Artifact, Target
from whet.core.task import Task
from whet.data.bind import bind
from whet.verdict.file_net import BATCH, batch_of, file_net
from whet.verify.equivalence import OpenSession, evaluate, played

Part = Literal["val", "test"]


@dataclass(frozen=True)
class Quality:
    """A file's `value` of a metric over so many `samples`, or episodes; `direction` says which is better."""

    metric: str
    direction: str
    value: float
    samples: int


def score(
    artifact: Artifact, target: Target, task: Task, part: Part = "val", original: Net | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None, session: OpenSession | None = None, batch: int | None = None,
) -> Quality:  # fmt: skip
    """Return the task's metric of a file over a part of its data, computed in the file's runtime.

    `original` is what files agree with where the task has no labels. `session` runs the file in place of the target's,
    `batch` samples at a time.

    Raises: TaskError where the task has no such data, or neither labels nor an original; for data that do not fit.
    """
    batches = getattr(task, part)
    if batches is None:
        raise TaskError(f"task '{task.name}' has no {part} data.")
    net = file_net(artifact, target, shapes)
    bound = bind(replace(task, train=None, calibration=None, val=batches, test=None), original or net)
    if not bound.labels and original is None:
        raise TaskError(
            f"task '{task.name}' has no labels, so quality is agreement with the original: give that too, by "
            "--original FILE, for a check by --baseline FILE."
        )
    opened = session or partial(target.open, artifact)
    samples = batch or batch_of(artifact.path) or BATCH
    if task.played is not None:
        returns = played(task, opened, part, samples, net)
        return Quality(task.metric_name, task.direction, float(returns.mean()), len(returns))
    outputs, targets = evaluate(opened, bound.val, samples, net)
    count = sum(len(inputs[0]) for inputs, _ in bound.val)
    return Quality(bound.metric_name, bound.direction, bound.score(outputs, targets), count)
