"""A task is bound to the network it trains only where its batches are not as the network takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import whet
from whet.core.errors import TaskError, TrainingError
from whet.core.task import Task, split
from whet.data.bind import Original
from whet.train.bound import bound

X, Y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2


def net() -> whet.Net:
    torch.manual_seed(0)
    return whet.lift(nn.Linear(3, 2), X[:2])


def task(batch: Any) -> Task:
    return Task("toy", train=[batch], val=[batch], loss=functional.cross_entropy, metric=whet.accuracy)


@pytest.mark.parametrize("batch", [(X, Y), ((X,), Y)])
def test_batches_that_fit_are_left_alone(batch: Any) -> None:
    given = task(batch)
    assert bound(given, net(), None) is given


@pytest.mark.parametrize("batch", [{"x": X, "labels": Y}, (X.numpy(), Y.numpy()), (X.double(), Y), [X, Y]])
def test_other_batches_are_made_what_the_network_takes(batch: Any) -> None:
    made = bound(task(batch), net(), None)
    assert made.bound
    inputs, _ = split(next(iter(made.training)))
    torch.testing.assert_close(inputs, (X,))


def test_a_bound_task_and_a_plain_module_are_left_alone() -> None:
    given = replace(task({"x": X, "labels": Y}), bound=True)
    assert bound(given, net(), None) is given
    plain = task({"x": X, "labels": Y})
    assert bound(plain, nn.Linear(3, 2), None) is plain  # type: ignore[arg-type]


def test_without_labels_the_targets_are_the_teachers_and_without_a_teacher_it_says_so() -> None:
    unlabelled, student, teacher = task({"x": X}), net(), net()
    with pytest.raises(TrainingError, match="needs a teacher"):
        bound(unlabelled, student, None)
    with torch.no_grad():
        next(teacher.module.parameters()).mul_(3)
    _, targets = split(next(iter(bound(unlabelled, student, teacher).training)))
    assert isinstance(targets, Original)
    with torch.no_grad():
        torch.testing.assert_close(targets.outputs, teacher(X))


def test_data_that_can_be_read_once_only_is_refused() -> None:
    with pytest.raises(TaskError, match="can be read once only"):
        bound(replace(task((X, Y)), train=iter([(X, Y)])), net(), None)
    with pytest.raises(TaskError, match="no training data"):
        bound(replace(task((X, Y)), train=None), net(), None)
