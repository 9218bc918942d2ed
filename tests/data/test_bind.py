"""Batches as loaders yield them become what a net takes; what cannot is refused by name before anything is timed."""

from __future__ import annotations

from collections import UserDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from toy_batches import X, Y, cut, make

import whet
from whet.core.errors import TaskError
from whet.core.kinds import Kind
from whet.core.net import Net
from whet.core.task import predict, split
from whet.data.bind import Original, bind

Pair = namedtuple("Pair", "first second")


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return whet.lift(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), X[:2])


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.layer(input_ids) * attention_mask.unsqueeze(1)


@pytest.fixture(scope="module")
def two() -> Net:
    return whet.lift(Two(), (X[:2], torch.ones(2)))


SHAPES: dict[str, Any] = {
    "tuple": lambda x, y: (x, y),
    "list of the default collation": lambda x, y: [x, y],
    "named tuple": lambda x, y: Pair(x, y),
    "index": lambda x, y: (x, y, torch.arange(8)),
    "paths": lambda x, y: [x, y, ["a"] * 8],
    "nested inputs": lambda x, y: ((x,), y),
    "inputs as a list": lambda x, y: ([x], y),
    "input by the usual name": lambda x, y: ({"features": x}, y),
    "dictionary of Hugging Face": lambda x, y: {"pixel_values": x, "labels": y},
    "dictionary with paths": lambda x, y: {"image": x, "label": y, "path": ["a"] * 8},
    "dictionary with an index": lambda x, y: {"x": x, "y": y, "idx": torch.arange(8)},
    "dictionary of unknown names": lambda x, y: {"signal": x, "class": y},
    "mapping": lambda x, y: UserDict({"inputs": x, "targets": y}),
    "numpy": lambda x, y: (x.numpy(), y.numpy()),
    "numpy int32": lambda x, y: (x.numpy().astype(np.float64), y.numpy().astype(np.int32)),
    "numbers": lambda x, y: (x.tolist(), y.tolist()),
    "scalars": lambda x, y: (x, list(y)),
    "f64": lambda x, y: (x.double(), y),
    "uint8 labels": lambda x, y: (x, y.to(torch.uint8)),
    "read-only numpy": lambda x, y: (np.frombuffer(x.numpy().tobytes(), np.float32).reshape(8, 6), y),
}


@pytest.mark.parametrize("build", SHAPES.values(), ids=SHAPES)
def test_batches_of_any_shape_become_those_of_the_net(net: Net, build: Any) -> None:
    task = bind(make(cut(build)), net)
    for name in ("train", "val"):
        batches = list(getattr(task, name))
        assert torch.allclose(torch.cat([x for (x,), _ in batches]), X) and len(getattr(task, name)) == 3
        assert torch.equal(torch.cat([y for _, y in batches]), Y)
    assert task.kinds == (Kind("logits", 1),) and task.labels and not task.quality_note
    outputs, targets = predict(net, task.val)
    assert task.score(outputs, targets) == whet.accuracy(net(X), Y)
    assert bind(task, net) is task


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_low_precision_is_converted_to_what_the_net_takes(net: Net, dtype: torch.dtype) -> None:
    inputs, _ = next(iter(bind(make(cut(lambda x, y: (x.to(dtype), y))), net).val))
    assert inputs[0].dtype == torch.float32


TWO: dict[str, Any] = {
    "flat": lambda x, y: (x, torch.ones(8), y),
    "flat list with an index": lambda x, y: [x, torch.ones(8), y, torch.arange(8)],
    "nested": lambda x, y: ((x, torch.ones(8)), y),
    "by name": lambda x, y: {"attention_mask": torch.ones(8), "labels": y, "input_ids": x, "length": torch.ones(8)},
    "inputs by name": lambda x, y: ({"attention_mask": torch.ones(8), "input_ids": x}, y),
}


@pytest.mark.parametrize("build", TWO.values(), ids=TWO)
def test_several_inputs_are_matched_by_name_or_order(two: Net, build: Any) -> None:
    inputs, targets = next(iter(bind(make(cut(build)), two).val))
    assert torch.equal(inputs[0], X[:8]) and torch.equal(inputs[1], torch.ones(8)) and torch.equal(targets, Y[:8])


def detection(outputs: Tensor, targets: Any) -> Tensor:
    boxes = torch.stack([row["boxes"].mean() for row in targets])
    return (outputs.mean(1) - boxes).square().mean()


TREES: dict[str, tuple[Any, Any]] = {
    "list of dictionaries": (
        lambda x, y: (x, [{"boxes": torch.rand(int(i) + 1, 4), "labels": [1] * (int(i) + 1)} for i in y]), detection),
    "dictionary": (
        lambda x, y: (x, {"cls": y, "box": torch.rand(8, 4)}),
        lambda o, t: F.cross_entropy(o, t["cls"]) + t["box"].mean()),
    "labels of a dictionary are not enough": (
        lambda x, y: {"image": x, "labels": y, "boxes": torch.rand(8, 4)},
        lambda o, t: F.cross_entropy(o, t["labels"]) + t["boxes"].mean()),
    "tuple": (lambda x, y: (x, (y, torch.rand(8))), lambda o, t: F.cross_entropy(o, t[0]) + t[1].mean()),
    "more than two": (lambda x, y: (x, y, torch.rand(8)), lambda o, t: F.cross_entropy(o, t[0]) + t[1].mean()),
    "text": (
        lambda x, y: (x, [str(int(i)) for i in y]), lambda o, t: F.cross_entropy(o, torch.tensor(list(map(int, t))))),
    "ragged": (lambda x, y: (x, [torch.rand(int(i) + 1) for i in y]), lambda o, t: o.mean() + sum(r.mean() for r in t)),
}  # fmt: skip


@pytest.mark.parametrize(("build", "loss"), TREES.values(), ids=TREES)
def test_targets_may_be_trees_and_rows(net: Net, build: Any, loss: Any) -> None:
    batches = cut(build)
    task = bind(make(batches, loss=loss, metric=lambda o, t: float(loss(o, t)), direction="min"), net)
    for given, bound in zip(batches, task.val, strict=True):
        alone = bind(make([given], loss=loss, metric=lambda o, t: float(loss(o, t)), direction="min"), net)
        assert float(task.loss(net(*bound[0]), bound[1])) == pytest.approx(alone.score(*predict(net, alone.val)))
    assert np.isfinite(task.score(*predict(net, task.val)))


def test_training_and_validation_may_have_other_targets(net: Net) -> None:
    weighted = lambda o, t: (F.cross_entropy(o, t[0], reduction="none") * t[1]).mean()  # noqa: E731
    train = cut(lambda x, y: (x, y, torch.rand(8)))
    task = bind(make(cut(lambda x, y: (x, y, ["a"] * 8)), train=train, loss=weighted, test=[(X, [Y.numpy()][0])]), net)
    (inputs, targets), (_, plain) = next(iter(task.training)), next(iter(task.val))
    assert torch.equal(targets[1], train[0][2]) and torch.equal(plain, Y[:8])
    assert torch.allclose(task.loss(net(*inputs), targets), weighted(net(X[:8]), train[0][1:]))
    assert task.score(*predict(net, task.val)) == whet.accuracy(net(X), Y)


def test_binding_draws_nothing_that_others_see(net: Net) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    bind(make(DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)), net)
    assert torch.equal(torch.get_rng_state(), before)


def test_all_rows_reach_the_metric(net: Net) -> None:
    seen = []
    task = make(cut(TREES["list of dictionaries"][0]), loss=detection, metric=lambda o, t: seen.append((o, t)) or 0.5)
    bound = bind(task, net)
    bound.score(*predict(net, bound.val))
    outputs, targets = seen[-1]
    assert outputs.shape == (24, 4) and [len(row["boxes"]) for row in targets] == [int(i) + 1 for i in Y]


UNLABELLED: dict[str, Any] = {
    "tensor": lambda x, y: x,
    "none": lambda x, y: (x, None),
    "one-tuple": lambda x, y: (x,),
    "dictionary": lambda x, y: {"pixel_values": x},
    "none and an index": lambda x, y: (x, None, torch.arange(8)),
}


@pytest.mark.parametrize("build", UNLABELLED.values(), ids=UNLABELLED)
def test_without_labels_quality_is_agreement_with_the_original(net: Net, build: Any) -> None:
    task = bind(make(cut(build), kinds="logits"), net)
    assert not task.labels and task.metric_name == "top1_agreement" and task.direction == "max"
    assert "quality is top1_agreement" in task.quality_note and "distillation" in task.quality_note
    outputs, targets = predict(net, task.val)
    assert isinstance(targets, Original) and task.score(outputs, targets) == 1.0
    turned = outputs.roll(1, 1)
    assert task.score(turned, targets) < 1 and float(task.loss(turned, targets)) > 0.01
    assert float(task.loss(outputs, targets)) == pytest.approx(0, abs=1e-6)


def test_a_loss_of_classes_tells_logits_without_labels(net: Net) -> None:
    assert bind(make(cut(lambda x, y: x)), net).metric_name == "top1_agreement"
    assert bind(make(cut(lambda x, y: x), loss=F.mse_loss), net).metric_name != "top1_agreement"


@pytest.mark.parametrize(
    ("kind", "name", "direction", "same"),
    [("embedding", "cosine_similarity", "max", 1.0), ("regression", "relative_error", "min", 0.0)],
)
def test_the_agreement_follows_the_kind(net: Net, kind: str, name: str, direction: str, same: float) -> None:
    task = bind(whet.Task("t", None, cut(lambda x, y: x), kinds=kind, drop="relative"), net)  # type: ignore[arg-type]
    assert (task.metric_name, task.direction, task.drop) == (name, direction, "absolute")
    outputs, targets = predict(net, task.val)
    assert task.score(outputs, targets) == pytest.approx(same, abs=1e-6)
    assert abs(task.score(-outputs, targets) - same) > 1
    assert "quality is" in task.quality_note and "training" not in task.quality_note


def test_a_loss_that_needs_no_labels_is_used(net: Net) -> None:
    loss = lambda o, t: o.square().mean()  # noqa: E731
    task = bind(make(cut(lambda x, y: x), loss=loss, metric=lambda o, t: float(o.mean())), net)
    outputs, targets = predict(net, task.val)
    assert targets is None and task.score(outputs, targets) == pytest.approx(float(net(X).mean()))
    assert task.labels and not task.quality_note


def test_training_without_labels_beside_validation_with(net: Net) -> None:
    task = bind(make(cut(lambda x, y: (x, y)), train=cut(lambda x, y: x)), net)
    assert task.labels and task.metric_name == "accuracy" and "training data have no labels" in task.quality_note
    inputs, targets = next(iter(task.training))
    assert torch.equal(targets.outputs, net(*inputs))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return zip(X, Y.tolist(), strict=True)


class Plain:
    def __iter__(self) -> Any:
        return iter(cut(lambda x, y: (x, y)))


@pytest.mark.parametrize("batches", [DataLoader(Stream(), batch_size=8), Plain()])
def test_collections_need_no_length(net: Net, batches: Any) -> None:
    task = bind(make(batches), net)
    assert not hasattr(type(task.val), "__len__")
    assert [len(list(task.val)), len(list(task.val))] == [3, 3]


class Epochs(Plain):
    def at_epoch(self, epoch: int) -> list[Any]:
        return cut(lambda x, y: (x + epoch, y))


def test_epochs_are_passed_on(net: Net) -> None:
    (x,), _ = next(iter(bind(make(Epochs()), net).training.at_epoch(2)))  # type: ignore[attr-defined]
    assert torch.equal(x, X[:8] + 2)


class Once:
    def __init__(self) -> None:
        self.iterator = iter(cut(lambda x, y: (x, y)))

    def __iter__(self) -> Any:
        return self.iterator


EMPTY = DataLoader(TensorDataset(X, Y), batch_size=32, drop_last=True)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "empty training": ({"train": EMPTY}, r"train gives no batch.*drop_last"),
    "empty test": ({"test": []}, r"test gives no batch"),
    "empty calibration": ({"calibration": DataLoader(TensorDataset(X[:0]))}, r"calibration gives no batch"),
    "the same iterator": ({"train": Once()}, r"train gives the same iterator each time.*train=list"),
    "other shape": ({"val": [(X[:, :5], Y)]}, r"val, batch 0: input '\w+' has shape \(24, 5\).*\(batch, 6\)"),
    "a single sample": ({"val": [(X[0], Y[0])]}, r"shape \(6,\).*\(batch, 6\)\. If it is a single.*DataLoader"),
    "a data set": ({"train": TensorDataset(X, Y)}, r"must be a collection of batches; got TensorDataset\. Give a Data"),
    "other rank": ({"train": [(X[:, None], Y)]}, r"train, batch 0: .*\(24, 1, 6\).*takes \(batch, 6\)"),
    "a later batch": ({"train": [(X, Y), (X[:, :5], Y)]}, r"train, batch 1: .*\(24, 5\)"),
    "rows": ({"test": [(X, Y[:23])]}, r"test, batch 0: targets have shape \(23,\); the batch has 24 rows"),
    "list of rows": ({"val": [(X, [{"a": 1}] * 3)]}, r"targets are a list of 3; the batch has 24 rows"),
    "two inputs": ({"val": [((X, X), Y)]}, r"the network takes 1 inputs.*the batch has 0 \(24, 6\), 1 \(24, 6\)"),
    "integers": ({"val": [(X.byte(), Y)]}, r"holds integers \(torch.uint8\); the network takes torch.float32"),
    "float labels": ({"train": [(X, Y.float())]}, r"train, batch 0: the loss cannot.*outputs \(24, 4\)"),
    "many labels": ({"train": [(X, Y + 4)]}, r"train, batch 0: the loss cannot be computed.*IndexError"),
    "no reduction": ({"loss": lambda o, y: F.cross_entropy(o, y, reduction="none")}, r"one number; got shape \(24,\)"),
    "a float loss": ({"loss": lambda o, y: 0.5}, r"one number; got float"),
    "no gradient": ({"loss": lambda o, y: o.detach().mean()}, r"has a gradient"),
    "an infinite loss": ({"loss": lambda o, y: o.mean() / 0}, r"loss of the given network is (inf|-inf)"),
    "a metric that fails": ({"metric": lambda o, y: o["logits"]}, r"the metric cannot be computed from outputs"),
    "no loss": ({"loss": None}, r"training labels but no loss.*distil"),
    "no metric": ({"metric": None}, r"validation labels but no metric"),
    "kinds": ({"kinds": ("logits", "logits")}, r"names 2 kinds for 1 outputs"),
    "no batch at all": ({"val": ["text"]}, r"the network takes 1 inputs"),
    "an empty tuple": ({"val": [()]}, r"the batch is empty"),
    "no rows": ({"val": [(X[:0], Y[:0])]}, r"the batch is empty"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "said"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_named(net: Net, values: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        bind(make([(X, Y)], **values), net)


def test_rows_of_two_inputs_must_agree(two: Net) -> None:
    with pytest.raises(TaskError, match=r"input 'attention_mask' has 7 rows, the first input 8"):
        bind(make([((X[:8], torch.ones(7)), Y[:8])]), two)


def test_a_metric_in_a_dictionary_names_itself(net: Net) -> None:
    task = bind(make([(X, Y)], metric=lambda o, y: {"f1": np.float32(0.5)}), net)
    assert task.metric_name == "f1" and task.score(net(X), Y) == 0.5


def test_split_takes_what_bound_tasks_give(net: Net) -> None:
    inputs, targets = split(next(iter(bind(make([(X, Y)]), net).val)))
    assert len(inputs) == 1 and torch.equal(targets, Y)
