"""How sure a drop is: the interval that the samples it was measured on leave."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import t as student
from torch import Tensor

from whet.core.errors import TaskError
from whet.core.task import Task
from whet.data.rows import every
from whet.support.structure import Tree, tensors

GROUPS = 20
SURE = 0.95


def drop_interval(
    task: Task, outputs: Tree, reference: Tree, targets: Tree, sure: float = SURE
) -> tuple[float, float] | None:
    r"""Return between which drops the true one lies, low and high, in the unit of the limit.

    The samples fall into :math:`n = 20` groups, every twentieth into one. With :math:`d_g` the drop within a group and
    :math:`d` that on all samples, the interval is
    :math:`d \pm t_{n-1} \sqrt{\sum_g (d_g - \bar d)^2 / n (n-1)}`. Both networks see the same samples, so only where
    they differ counts. It knows nothing of how a file was chosen: the best of many looks better than it is.

    `outputs` and `reference` are of the file and of the original, joined, rows in dimension 0, as are `targets`.
    Returns None where a group cannot be scored: too few samples, or a metric that needs more than a group has.

    >>> import torch, whet
    >>> y = torch.arange(2000) % 2
    >>> flipped = torch.rand(2000, generator=torch.Generator().manual_seed(0)) < 0.05
    >>> right, worse = (torch.nn.functional.one_hot(z).float() for z in (y, y ^ flipped.long()))
    >>> low, high = drop_interval(Task("t", None, [0], metric=whet.accuracy), worse, right, y)
    >>> 0.03 < low < 0.05 < high < 0.07
    True
    """
    if min((len(x) for x in tensors((outputs, reference)) if x.dim()), default=0) < 2 * GROUPS:
        return None
    drops = []
    try:
        for begin in range(GROUPS):
            ours, theirs, wanted = (every(tree, GROUPS, begin) for tree in (outputs, reference, targets))
            drops.append(task.loss_of_quality(task.score(ours, wanted), task.score(theirs, wanted)))
    except (TaskError, RuntimeError, ValueError, IndexError):
        return None
    error = float(np.std(drops, ddof=1)) / math.sqrt(GROUPS)
    drop = task.loss_of_quality(task.score(outputs, targets), task.score(reference, targets))
    wide = float(student.ppf((1 + sure) / 2, GROUPS - 1)) * error
    return drop - wide, drop + wide


def drop_of_returns(task: Task, ours: Tensor, theirs: Tensor, sure: float = SURE) -> tuple[float, float] | None:
    r"""Return between which drops the true one lies, of what two policies gained in the same n episodes, (n,) each.

    With :math:`d_i` the drop in an episode the interval is :math:`\bar d \pm t_{n-1} s_d / \sqrt n`, in the unit of the
    limit. Episodes begin alike, so only where the policies come apart counts. None for a single episode.

    >>> import torch
    >>> task = Task("t", None, [0], metric=lambda outputs, targets: 0.0)
    >>> ours, theirs = torch.tensor([8.0, 9.0, 10.0, 9.0]), torch.tensor([10.0, 10.0, 10.0, 10.0])
    >>> [round(end, 2) for end in drop_of_returns(task, ours, theirs)]
    [-0.3, 2.3]
    """
    count = len(ours)
    if count < 2:
        return None
    drops = (theirs - ours).double().numpy() * (1 if task.direction == "max" else -1)
    if task.drop == "relative":
        drops = drops / max(abs(float(theirs.double().mean())), 1e-12)
    wide = float(student.ppf((1 + sure) / 2, count - 1) * np.std(drops, ddof=1)) / math.sqrt(count)
    return float(drops.mean()) - wide, float(drops.mean()) + wide
