"""Moments are those of all rows, drawn where a mask shows something, and their least squares are the dense solution."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from masked import Masked
from shared_nets import shared_net
from torch import nn

import whet
from whet.compress.moments import ROWS, Sums, enough, inputs_of, least_squares, moments
from whet.compress.reference import Reference
from whet.compress.repair import output_error, repaired
from whet.core.errors import CalibrationError
from whet.graph.cut import cut
from whet.graph.readers import find_readers
from whet.testing.runs import planning_run


@pytest.mark.parametrize("inputs", [8, 300])
def test_moments_are_exact_and_join(inputs: int) -> None:
    x = torch.randn(1, 2000, inputs) + 5
    y = torch.randn(1, 2000, 4)
    parts = []
    for piece in (slice(0, 700), slice(700, None)):
        sums = Sums()
        sums.add(x[:, piece], y[:, piece])
        parts.append(sums.moments())
    found = parts[0].joined(parts[1])
    expected = torch.cov(torch.cat([x[0], y[0]], 1).double().T, correction=0)
    torch.testing.assert_close(found.xx[0], expected[:inputs, :inputs], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.yx[0], expected[inputs:, :inputs], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.yy[0], expected.diagonal()[inputs:], rtol=1e-4, atol=1e-5)
    raw = found.raw()
    torch.testing.assert_close(raw.xx[0], (x[0].double().T @ x[0].double()) / 2000, rtol=1e-4, atol=1e-4)


def test_moments_take_several_passes_where_memory_asks() -> None:
    net = shared_net("encoder")
    readers = list(find_readers(net)[0].values())
    data = [net.example]
    whole, parts = moments(net, data, readers), moments(net, data, readers, memory=1)
    assert whole.keys() == parts.keys()
    for site, found in whole.items():
        torch.testing.assert_close((found.xx, found.mean), (parts[site].xx, parts[site].mean))


def test_samples_are_enough_for_rows() -> None:
    perceptron = whet.lift(nn.Sequential(nn.Linear(40, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(2, 40))
    assert enough(perceptron, 16) == 40 * ROWS and enough(perceptron, 1000) == 1000
    image = whet.lift(nn.Sequential(nn.Conv2d(4, 4, 3)), torch.randn(2, 4, 14, 14))
    assert enough(image, 1) == math.ceil(36 * ROWS / 144)


def test_what_a_mask_hides_is_nothing_to_solve_on() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(30, 8, 3), (torch.rand(30, 8) < 0.4).float()
    mask[:, 0] = 1
    padded = torch.where(mask.unsqueeze(-1) == 1, x, 9.0)
    net = whet.lift(Masked(), (x[:2], mask[:2]))
    (reader,) = [r for r in find_readers(net)[0].values() if r.site == "read"]
    found = moments(net, [(padded, mask)], [reader])["read"]
    assert found.count == int(mask.sum())
    smaller = cut(net, {"write": range(12)})
    reference = Reference.of(net, [(padded[:15], mask[:15]), (padded[15:], mask[15:])], [(x, mask)])
    assert sum(map(len, reference.rows["read"])) == int(mask.sum())
    assert output_error(reference, repaired(reference, smaller).net) < 0.5 * output_error(reference, smaller)


def test_inputs_come_from_calibration_and_then_from_training() -> None:
    run = planning_run(whet.lift(nn.Linear(3, 2), torch.randn(2, 3)))
    first = next(iter(run.task.train))[0][0]  # type: ignore[arg-type]
    task = replace(run.task, calibration=[(torch.ones(5, 3), torch.zeros(5))])
    found = inputs_of(task, 5 + 4)
    assert torch.equal(torch.cat([x for (x,) in found]), torch.cat([torch.ones(5, 3), first[:4]]))


def test_nan_is_an_error_that_names_the_layer() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(2, 3))
    with pytest.raises(CalibrationError, match="layer '2' reads NaN"):
        moments(net, [(torch.full((4, 3), torch.nan),)], [r for r in find_readers(net)[0].values() if r.site == "2"])


def test_damping_is_chosen_by_the_rows_that_it_was_not_solved_on() -> None:
    generator = torch.Generator().manual_seed(0)
    x, true = torch.randn(1, 120, 16, generator=generator), torch.randn(1, 2, 16, generator=generator)
    y = x @ true.mT
    halves = []
    for rows in (slice(0, 60), slice(60, None)):
        sums = Sums()
        sums.add(x[:, rows], y[:, rows])
        halves.append(sums.moments())
    start, dampings = torch.zeros(1, 2, 16), (1e-6, 1e-3, 1.0, 1e3)
    solved, damping = least_squares(halves[0], halves[1], start, dampings)
    assert damping == 1e-6  # without noise every damping only does harm
    torch.testing.assert_close(solved, true, rtol=1e-3, atol=1e-4)
    noise = torch.randn(1, 120, 2, generator=generator)
    for rows, at in ((slice(0, 60), 0), (slice(60, None), 1)):
        sums = Sums()
        sums.add(x[:, rows], noise[:, rows])
        halves[at] = sums.moments()
    assert least_squares(halves[0], halves[1], start, dampings)[1] >= 1.0  # nothing to learn: zero is right
