"""What calibration shows: whole batches, true extremes, rows of what linear layers alone read, the same every time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.quantize import calibration
from whet.compress.quantize.calibration import Rows, calibration_inputs, observe
from whet.core.errors import CalibrationError
from whet.core.net import Net
from whet.core.task import Task
from whet.testing.runs import planning_run


class Branches(nn.Module):
    """Two linear layers read one tensor, a convolution and a linear layer another."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(6, 4)
        self.along, self.last = nn.Conv1d(5, 5, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x) * self.two(x)
        out: Tensor = self.last(y) + self.along(y)[..., :2]
        return out


def branches() -> Net:
    torch.manual_seed(0)
    return whet.lift(Branches(), torch.randn(2, 5, 6))


def batches() -> list[tuple[Tensor, ...]]:
    return [(torch.randn(7, 5, 6, generator=torch.Generator().manual_seed(seed)),) for seed in range(3)]


def test_extremes_are_those_of_all_values_and_samples_come_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "KEPT_VALUES", 10 * calibration.KEPT_BATCHES)
    monkeypatch.setattr(calibration, "KEPT_ROWS", 33)
    found = observe(branches(), ["one", "two", "along", "last"], batches(), seed=0)
    whole = torch.cat([x for (x,) in batches()])
    seen, rows, flat = found.seen["x"], found.rows["x"], whole.reshape(-1, 6)
    assert torch.isin(seen.values, whole).all() and len(seen.values) == 30 and seen.values.max() < whole.max()
    assert (seen.low, seen.high) == (float(whole.min()), float(whole.max()))
    assert all((row == flat).all(1).any() for row in rows.values) and len(rows.values) == 33
    assert torch.equal(rows.low, flat.amin(0)) and torch.equal(rows.high, flat.amax(0))
    assert not torch.equal(rows.high, rows.values.amax(0))


def test_rows_are_kept_only_where_linear_layers_alone_read() -> None:
    found = observe(branches(), ["one", "two", "along", "last"], batches(), seed=0)
    assert set(found.rows) == {"x"} and len(found.seen) == 2, "a convolution reads the other tensor, too"
    assert set(observe(branches(), ["one", "last"], batches(), seed=0).rows) == set(found.seen)


def test_the_same_seed_sees_the_same_and_training_mode_does_not_matter() -> None:
    net = branches()
    one, same, other = (observe(net, ["one", "two"], batches(), seed) for seed in (0, 0, 1))
    assert torch.equal(one.seen["x"].values, same.seen["x"].values)
    assert torch.equal(one.rows["x"].values, same.rows["x"].values)
    assert not torch.equal(one.seen["x"].values, other.seen["x"].values)


def test_rows_are_fewer_where_memory_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MEMORY_BYTES", 60 * 4 * 6)
    assert len(observe(branches(), ["one", "two"], batches(), 0).rows["x"].values) == 60


def test_rows_times_a_factor_and_together() -> None:
    one = Rows(torch.tensor([[1.0, -8.0]]), torch.tensor([-2.0, -8.0]), torch.tensor([1.0, 0.0]))
    two = Rows(torch.tensor([[3.0, 0.0]]), torch.tensor([0.0, 0.0]), torch.tensor([3.0, 0.0]))
    both = Rows.of([one, two])
    assert both.most.tolist() == [3.0, 8.0] and both.values.shape == (2, 2)
    scaled = both.times(torch.tensor([2.0, 0.5])).seen()
    assert scaled.values.tolist() == [2.0, -4.0, 6.0, 0.0] and (scaled.low, scaled.high) == (-4.0, 6.0)


def test_inputs_are_whole_batches_of_calibration_or_else_of_training_data() -> None:
    task: Task = planning_run(whet.lift(nn.Linear(3, 2), torch.randn(2, 3))).task
    given = [(torch.full((4, 3), float(i)), torch.zeros(4)) for i in range(3)]
    found = calibration_inputs(replace(task, calibration=given), 5)
    assert [float(x[0, 0]) for (x,) in found] == [0.0, 1.0] and all(len(x) == 4 for (x,) in found)
    without = calibration_inputs(replace(task, calibration=None, train=given[2:]), 5)
    assert [float(x[0, 0]) for (x,) in without] == [2.0]
    for nothing in (None, []):
        with pytest.raises(CalibrationError, match="int8 needs calibration data"):
            calibration_inputs(replace(task, calibration=nothing, train=None), 5)
