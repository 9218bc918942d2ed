"""Every value of a task is checked where it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import whet
from whet.core.errors import TaskError, UnknownNameError
from whet.core.kinds import Kind
from whet.core.task import Task, predict
from whet.data.bind import bind

X, Y = torch.randn(8, 3), torch.randint(0, 2, (8,))
BATCHES = [(X, Y)]
NET = whet.lift(torch.nn.Linear(3, 2), X[:2])


def make(**values: Any) -> Task:
    given: dict[str, Any] = {
        "train": BATCHES,
        "val": BATCHES,
        "loss": functional.cross_entropy,
        "metric": whet.accuracy,
    }
    return Task("t", **{**given, **values})


@pytest.mark.parametrize(
    ("field", "given", "near"),
    [
        ("direction", "maximize", "did you mean 'max'"),
        ("direction", "minimise", "did you mean 'min'"),
        ("direction", "MAX", "Allowed: max, min"),
        ("direction", None, "Allowed: max, min"),
        ("drop", "percent", "Allowed: absolute, relative"),
        ("drop", "relativ", "did you mean 'relative'"),
        ("drop", 0.01, "Allowed: absolute, relative"),
    ],
)
def test_misspelt_choices_name_the_nearest(field: str, given: Any, near: str) -> None:
    with pytest.raises(UnknownNameError, match=near):
        make(**{field: given})


@pytest.mark.parametrize("field", ["loss", "metric"])
@pytest.mark.parametrize("given", ["accuracy", 3, torch.zeros(1)])
def test_loss_and_metric_are_functions(field: str, given: Any) -> None:
    with pytest.raises(TaskError, match=rf"{field} of task 't' must be a function"):
        make(**{field: given})


@pytest.mark.parametrize("field", ["loss", "metric"])
def test_what_was_not_given_says_so_when_it_is_needed(field: str) -> None:
    with pytest.raises(TaskError, match=f"no {field}: give"):
        getattr(make(**{field: None}), field)(X, Y)


def generator() -> Any:
    yield from BATCHES


@pytest.mark.parametrize("make_once", [generator, lambda: iter(BATCHES), lambda: map(tuple, BATCHES)])
@pytest.mark.parametrize("field", ["train", "val", "test", "calibration"])
def test_what_can_be_read_once_is_refused_with_what_to_do(field: str, make_once: Any) -> None:
    given = make_once()
    task = make(**{field: given})
    with pytest.raises(TaskError, match=rf"{field} is a \w+, which can be read once only.*{field}=list"):
        bind(task, NET)
    assert next(iter(given)) is not None, "nothing was read of it"


@pytest.mark.parametrize("given", [X, {"x": X}, "data", 5])
def test_what_is_no_collection_is_refused(given: Any) -> None:
    with pytest.raises(TaskError, match="val must be a collection of batches; got"):
        bind(make(val=given), NET)


@pytest.mark.parametrize("given", [None, [], (), DataLoader(TensorDataset(X, Y), batch_size=9, drop_last=True)])
def test_without_validation_data_there_is_nothing_to_choose_by(given: Any) -> None:
    with pytest.raises(TaskError, match="no validation data"):
        make(val=given)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return zip(X, Y, strict=True)


def test_a_stream_without_a_length_is_a_collection() -> None:
    outputs, targets = predict(lambda x: x, make(val=DataLoader(Stream(), batch_size=3)).val)
    assert torch.equal(outputs, X) and torch.equal(targets, Y)


@pytest.mark.parametrize(
    "value",
    [0.5, torch.tensor(0.5), torch.tensor([0.5]), np.float32(0.5), np.array(0.5), {"accuracy": 0.5},
     {"eval_accuracy": np.float64(0.5), "loss": 1.0}, {"anything": torch.tensor(0.5)}],
)  # fmt: skip
def test_metrics_may_return_any_kind_of_number(value: Any) -> None:
    assert make(metric=lambda outputs, targets: value).score(X, Y) == 0.5


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"f1": 0.5, "recall": 0.4}, "returns f1, recall: say with metric_name"),
        ({}, "returns nothing"),
        (torch.zeros(3), "must return a number; got Tensor"),
        (None, "must return a number; got NoneType"),
        ("0.5x", "must return a number"),
        (float("nan"), "returned nan"),
        (float("inf"), "returned inf"),
    ],
)
def test_other_results_of_metrics_are_named(value: Any, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        make(metric=lambda outputs, targets: value).score(X, Y)


def test_one_of_several_numbers_is_chosen_by_name() -> None:
    task = make(metric=lambda outputs, targets: {"f1": 0.5, "recall": 0.4}, metric_name="recall")
    assert task.score(X, Y) == 0.4


def test_kinds_may_be_names() -> None:
    assert make(kinds="embedding").kinds == (Kind("embedding"),)
    assert make(kinds=("logits", Kind("regression"))).kinds == (Kind("logits", -1), Kind("regression"))
    with pytest.raises(UnknownNameError, match="did you mean 'embedding'"):
        make(kinds="embeddings")
    with pytest.raises(TaskError, match="kinds must be names among"):
        make(kinds=(1,))


def test_training_data_may_be_missing_until_they_are_needed() -> None:
    with pytest.raises(TaskError, match="task 't' has no training data"):
        _ = make(train=None).training


def test_predicting_counts_samples_by_inputs() -> None:
    batches = [((X, X), {"boxes": [torch.zeros(1)] * 8})] * 3
    outputs, targets = predict(lambda a, b: {"sum": a.double() + b}, batches, limit=9)
    assert outputs["sum"].shape == (16, 3) and outputs["sum"].dtype == torch.float32
    assert set(targets) == {"boxes"}
