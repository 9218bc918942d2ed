"""A task of a user's data fits the network: inputs by name, loss and metric by the targets, text as it is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.errors import LiftError, TaskError, UnknownNameError
from whet.core.task import Task
from whet.data import losses, metrics
from whet.data.bind import bind
from whet.data.sources.source import Data, Options, Part
from whet.networks.transformer import Decoder
from whet.tasks import own
from whet.tasks.bundle import TensorBatches

X, Y = torch.randn(200, 6), torch.arange(200) % 3


def data_of(inputs: dict[str, Tensor], targets: Tensor | None, aim: Any, **more: Any) -> Data:
    part = Part(inputs, targets)
    parts = {"train": part.at(torch.arange(150)), "val": part.at(torch.arange(150, 200))}
    return Data("arrays", parts, aim, "given", **more)


def text_of(tokens: int, length: int = 8) -> Data:
    ids = torch.randint(0, tokens, (200, length))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    following = data_of(inputs, ids.roll(-1, 1), "tokens", vocabulary=tokens)
    return data_of(inputs, None, "agreement", vocabulary=tokens, next_token=following)


class Named(nn.Module):
    """Takes two of a text's inputs by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.types = nn.Embedding(9, 5), nn.Embedding(2, 5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Any = None) -> Tensor:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return (self.words(input_ids) * mask[..., None]).mean(1)


CLASSES = data_of({"x": X}, Y, "classes", classes=("a", "b", "c"))
NUMBERS = data_of({"x": X}, X[:, 0].clone(), "numbers")


def task_of(data: Data, outputs: Tensor, **options: Any) -> Task:
    return own.own_task(data, ("x",), outputs, Options(**options), "mine")


def test_loss_and_metric_follow_the_targets_unless_they_are_named() -> None:
    task = task_of(CLASSES, torch.zeros(2, 3))
    assert (task.loss, task.metric) == (losses.cross_entropy, metrics.accuracy)
    assert (task.direction, task.drop, task.metric_name) == ("max", "absolute", "accuracy")
    task = task_of(NUMBERS, torch.zeros(2, 1))
    assert (task.loss, task.metric, task.direction, task.drop) == (losses.mse, metrics.rmse, "min", "relative")
    task = task_of(NUMBERS, torch.zeros(2, 1), loss="huber", metric="r2")
    assert (task.loss, task.metric, task.direction, task.drop) == (losses.huber, metrics.r2, "max", "absolute")


def test_what_does_not_fit_the_targets_is_refused() -> None:
    with pytest.raises(TaskError, match="accuracy is for classes or tokens; the targets are numbers: they take rmse"):
        task_of(NUMBERS, torch.zeros(2, 1), metric="accuracy")
    with pytest.raises(TaskError, match="tells 2 classes apart, the data have 3: a, b, c"):
        task_of(CLASSES, torch.zeros(2, 2))
    with pytest.raises(TaskError, match="--metric f1 needs labels"):
        task_of(data_of({"x": X}, None, "agreement"), torch.zeros(2, 2), metric="f1")
    assert own.aim_of(Options(metric="rmse")) == "numbers" and own.aim_of(Options()) is None
    assert own.aim_of(Options(metric="accuracy", loss="cross_entropy")) == "classes"
    with pytest.raises(TaskError, match="--metric rmse is for numbers and --loss nll is for classes or tokens"):
        own.aim_of(Options(metric="rmse", loss="nll"))
    with pytest.raises(UnknownNameError, match="did you mean 'rmse'"):
        own.aim_of(Options(metric="rmsee"))


def test_inputs_go_to_the_parameters_of_their_names() -> None:
    text = text_of(9)
    columns, read = own.reading(Named(), text)
    assert columns == ("input_ids", "attention_mask") and read is text
    example = own.example_of(text, columns)
    net = whet.lift(Named(), example)
    assert own.reading_of_net(net, text) == (columns, text)
    task = own.own_task(text, columns, own.outputs_of(net, text, columns), Options(), "mine")
    bound = bind(task, net)
    assert not bound.labels and "distillation" in bound.quality_note
    assert own.columns_of(nn.Linear(6, 3), CLASSES) == ("x",)


def test_text_is_read_token_by_token_where_the_network_foretells_them() -> None:
    text = text_of(9)
    decoder = Decoder(9, 8, width=12, heads=2, layers=1)
    columns, read = own.reading(decoder, text)
    assert columns == ("input_ids",) and read is text.next_token
    net = whet.lift(decoder, own.example_of(read, columns))
    assert own.reading_of_net(net, text) == (columns, text.next_token)
    task = bind(own.own_task(read, columns, own.outputs_of(net, read, columns), Options(), "mine"), net)
    assert task.metric_name == "perplexity" and task.labels and 5 < task.glance < 20
    with pytest.raises(TaskError, match="too short for a network that foretells tokens"):
        own.reading(decoder, replace(text, next_token=None))
    for block in decoder.blocks:
        block.attention.causal = False
    assert own.reading(decoder, text)[1] is text, "one that sees the next token foretells none"


def test_a_tokenizer_that_does_not_fit_is_said() -> None:
    with pytest.raises(TaskError, match="it has 12 tokens, and the network's embedding 9"):
        own.reading(Named(), text_of(12))
    net = whet.lift(Named(), own.example_of(text_of(9), ("input_ids", "attention_mask")))
    with pytest.raises(TaskError, match="it has 12 tokens, and the network's embedding 9"):
        own.reading_of_net(net, text_of(12))


def test_a_network_that_does_not_take_the_data_is_named_with_both_shapes() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.Linear(5, 3))
    with pytest.raises(
        LiftError, match=r"samples of which are input \(2, 6\) float32: its layer '1', Linear\(in_fea.*\(2, 4\)"
    ):
        own.tried(module, (X[:2],), "net.py:make")
    with pytest.raises(LiftError, match=r"Conv1d.*was given \(2, 6\) float32.*--size 1x16000"):
        own.tried(nn.Conv1d(1, 2, 3), (X[:2],), "net.py:make")
    net = whet.lift(nn.Linear(5, 3), torch.randn(2, 5))
    with pytest.raises(TaskError, match=r"shape \(2, 6\); the network takes \(batch, 5\)"):
        own.outputs_of(net, CLASSES, ("x",))


def test_batches_hold_what_the_data_hold() -> None:
    task = task_of(CLASSES, torch.zeros(2, 3))
    assert isinstance(task.train, TensorBatches) and isinstance(task.val, TensorBatches)
    inputs, targets = (torch.cat(parts) for parts in zip(*task.val))
    assert torch.equal(inputs, X[150:]) and torch.equal(targets, Y[150:])
    assert task.train.batch_size == 32 and task.calibration is not None, "a quarter of 150, as a power of two"
    big = data_of({"x": torch.zeros(200, 3, 128, 128)}, Y, "classes", classes=("a", "b", "c"))
    assert task_of(big, torch.zeros(2, 3)).train.batch_size == 16  # type: ignore[union-attr]
    scaled = data_of({"x": X}, Y, "classes", classes=("a", "b", "c"), prepare=lambda x: x * 2)
    assert torch.equal(next(iter(task_of(scaled, torch.zeros(2, 3)).val))[0], X[150:] * 2)


def test_a_network_that_guesses_is_looked_at_with_doubt() -> None:
    good, bad = nn.Linear(6, 3), nn.Linear(6, 3)
    y = (X @ good.weight.T + good.bias).argmax(1)
    data = data_of({"x": X}, y, "classes", classes=("a", "b", "c"))
    with torch.no_grad():
        bad.weight.copy_(-good.weight)
        bad.bias.copy_(-good.bias)
    nets = [whet.lift(module, X[:2]) for module in (good, bad)]
    told = [own.doubts(task_of(data, torch.zeros(2, 3)), data, net) for net in nets]
    assert told[0] == () and "0 is a, 1 is b, 2 is c" in told[1][0]


def test_made_up_inputs_are_of_the_kind_of_the_example() -> None:
    net = whet.lift(
        Named(), {"input_ids": torch.tensor([[2, 8, 5], [3, 4, 2]]), "attention_mask": torch.ones(2, 3).long()}
    )
    bundle = own.synthetic(net)
    task = bind(bundle.task, net)
    inputs = [batch[0] for batch in task.val]
    ids, masks = (torch.cat(parts) for parts in zip(*inputs))
    assert task.train is None and ids.shape == (64, 3) and sorted(set(ids.flatten().tolist())) == list(range(2, 9))
    assert bool((masks == 1).all()) and "with the original" in task.quality_note


def test_a_task_of_a_users_tells_its_example() -> None:
    def task(batch: Any) -> Task:
        return Task("mine", train=None, val=[batch])

    assert own.example_of_task(task((X, Y)))[0] is X and own.example_of_task(task(((X, Y), Y))) == (X, Y)
    assert list(own.example_of_task(task({"a": X, "labels": Y}))) == ["a"] and own.example_of_task(task(X)) == (X,)
