"""Where the batch lies, in which axis and of what lengths, as loaders give it and as a net takes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy_batches import X, Y, make

import whet
from whet.core.errors import TaskError
from whet.core.kinds import Kind
from whet.core.net import Net, Port
from whet.core.task import predict
from whet.data.bind import bind


def moved(net: Net, axis: int, outputs: int | None = None) -> Net:
    """Return the same net whose users give and get the batch in another axis, and may leave a length open."""
    (port,), (out,) = net.inputs, net.outputs
    return replace(
        net, inputs=(Port(port.name, axis),), outputs=(Port(out.name, axis if outputs is None else outputs),)
    )


@pytest.fixture(scope="module")
def sequence() -> Net:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), torch.randn(2, 5, 6))
    return moved(net, 1)


def test_time_first_batches_are_turned_and_turned_back(sequence: Net) -> None:
    seen: list[Any] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append((tuple(outputs.shape), tuple(targets.shape)))
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    x, y = torch.randn(5, 12, 6), torch.randint(0, 4, (5, 12))
    batches = [(x[:, :8], y[:, :8]), (x[:, 8:], y[:, 8:])]
    task = bind(make(batches, loss=loss, metric=lambda o, t: float((o.argmax(-1) == t).float().mean())), sequence)
    (inside,), targets = next(iter(task.val))
    assert inside.shape == (8, 5, 6) and targets.shape == (8, 5) and task.kinds == (Kind("logits", 2),)
    task.loss(sequence(inside), targets)
    assert seen[-1] == ((5, 8, 4), (5, 8))
    outputs, joined = predict(sequence, task.val)
    expected = (sequence(x.movedim(1, 0)).argmax(-1) == y.movedim(1, 0)).float().mean()
    assert outputs.shape == (12, 5, 4) and task.score(outputs, joined) == pytest.approx(float(expected))


def _share(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs.argmax(-1).t() == targets).float().mean())


def test_labels_may_lie_batch_first_beside_time_first_inputs(sequence: Net) -> None:
    batches = [(torch.randn(5, 8, 6), torch.randint(0, 4, (8, 5)))]
    task = bind(
        make(batches, loss=lambda o, t: F.cross_entropy(o.flatten(0, 1), t.t().flatten()), metric=_share), sequence
    )
    _, targets = next(iter(task.val))
    assert targets.shape == (8, 5) and torch.equal(task.loss.canonical.targets_outside(targets), targets)  # type: ignore[attr-defined]


def test_scalars_without_a_batch_are_repeated_for_each_row() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, x: Tensor, rate: Tensor) -> Tensor:
            return self.layer(x) * rate.reshape(-1, 1)

    net = whet.lift(Scaled(), (X[:2], torch.ones(2)))
    net = replace(net, inputs=(net.inputs[0], Port("rate", None)))
    (x, rate), _ = next(iter(bind(make([((X, 2.0), Y)]), net).val))
    assert torch.equal(rate, torch.full((24,), 2.0)) and len(x) == 24


def lengths(build: Any) -> list[Any]:
    torch.manual_seed(0)
    return [build(torch.randn(4, n, 6), torch.randint(0, 4, (4, n))) for n in (5, 7, 5)]


def tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def opened(net: Net) -> Net:
    return replace(net, inputs=(Port("x", 0, ((1, "time"),)),), outputs=(Port("output", 0),))


def test_lengths_may_differ_where_the_axis_is_free(sequence: Net) -> None:
    batches = lengths(lambda x, y: (x, y))
    share = lambda o, t: float((o.argmax(-1) == t).float().mean())  # noqa: E731
    task = bind(make(batches, loss=tokens, metric=share), opened(sequence))
    right = sum(int((sequence(x).argmax(-1) == y).sum()) for x, y in batches)
    assert task.score(*predict(sequence, task.val)) == pytest.approx(right / (4 * (5 + 7 + 5)))


def test_lengths_may_differ_without_labels(sequence: Net) -> None:
    task = bind(make(lengths(lambda x, y: x), kinds="logits"), opened(sequence))
    outputs, targets = predict(sequence, task.val)
    assert task.score(outputs, targets) == 1.0


@pytest.mark.parametrize("collection", ["train", "val", "calibration"])
def test_lengths_that_differ_from_a_fixed_axis_are_refused(sequence: Net, collection: str) -> None:
    fixed = replace(opened(sequence), inputs=(Port("x", 0),))
    batches = lengths(lambda x, y: (x, y))
    with pytest.raises(TaskError, match=rf"{collection}, batch 1: input 'x' has shape \(4, 7, 6\).*axis 1.*free_axes="):
        bind(make(batches[:1], loss=tokens, metric=lambda o, t: 0.5, **{collection: batches}), fixed)


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y = self.linear(x) + state.sum(0)
        return y, torch.stack([y, y + 1])


def test_without_labels_a_state_in_another_layout_agrees_with_itself() -> None:
    net = whet.lift(Stateful(), (torch.randn(3, 4), torch.randn(2, 3, 3)), batch_axis=(0, 1))
    assert [port.batch_axis for port in net.outputs] == [0, 1]
    batches = [{"x": torch.randn(n, 4), "state": torch.randn(2, n, 3)} for n in (5, 5, 2)]
    task = bind(whet.Task("stream", train=batches, val=batches), net)
    assert task.score(*predict(net, task.val)) == task.score(*predict(net, task.val, 5))
    worse = net.copy()
    worse.layer("linear").weight.data *= 0.5
    assert task.better(task.score(*predict(net, task.val)), task.score(*predict(worse, task.val)))
