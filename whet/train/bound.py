"""`bound`: the task of a training, with batches as the network takes them."""

from __future__ import annotations

from torch import Tensor, nn

from whet.core.errors import TrainingError
from whet.core.net import Net
from whet.core.task import Task, split
from whet.data.bind import Original, bind, check_collection

Network = Net | nn.Module


def bound(task: Task, net: Network, teacher: Network | None) -> Task:
    """Return a task with training data, bound to the network where its batches are not as the network takes them."""
    check_collection(task.name, "train", task.training)
    original = teacher if isinstance(teacher, Net) else net
    if task.bound or not isinstance(original, Net) or _is_canonical(task, original):
        return task
    made = bind(task, original)
    if original is net and isinstance(split(next(iter(made.training)))[1], Original):
        raise TrainingError(f"task '{task.name}' has no training labels: training needs a teacher, which is a Net.")
    return made


def _is_canonical(task: Task, net: Net) -> bool:
    """Say whether batches are tensors with the batch in dimension 0 already, inputs and targets."""
    batch = next(iter(task.training), None)
    if (
        not isinstance(batch, tuple)
        or len(batch) != 2
        or any(port.batch_axis != 0 for port in (*net.inputs, *net.outputs))
    ):
        return False
    inputs = batch[0] if isinstance(batch[0], tuple) else (batch[0],)
    fitting = len(inputs) == len(net.example) and isinstance(batch[1], Tensor)
    return fitting and all(
        isinstance(x, Tensor) and x.dtype == e.dtype for x, e in zip(inputs, net.example, strict=True)
    )
