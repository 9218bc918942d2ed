"""Bits by perturbation: traces are those of the Hessian, the programme's share is the best, further limits hold."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from shares import GRIDS, Twice, problem_of
from torch import nn

from whet.compress.quantize.allocation import Allocation
from whet.compress.quantize.perturbation import by_perturbation, traces
from whet.core.errors import DecisionError
from whet.graph.grids import stored_bits


def deep() -> Allocation:
    torch.manual_seed(0)
    layers = nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)
    return problem_of(nn.Sequential(*layers), torch.randn(40, 6), 0.0)


def test_traces_are_those_of_the_outputs_jacobian() -> None:
    """tr J^T J, a mean over samples, by a Jacobian of every weight; a linear layer's is out |x|^2 / deviation^2."""
    problem = deep()
    found = traces(problem, probes=400)
    net, (deviation,) = problem.net.copy(), problem.deviations()
    x = torch.cat([inputs[0] for inputs in problem.batches])
    for site in problem.weights:
        weight = net.layer(site).get_parameter("weight")
        total = 0.0
        for row in net(x).flatten():
            total += float(torch.autograd.grad(row, weight, retain_graph=True)[0].square().sum())
        assert float(found[site]) == pytest.approx(total / len(x) / deviation**2, rel=0.1)


def damage_of(problem: Allocation, share: dict[str, object]) -> float:
    curved, total = traces(problem), 0.0
    for site, grid in share.items():
        weight = problem.net.layer(site).get_parameter("weight").detach()
        lost = (problem.rounded(site, grid) - weight).double().square().sum()  # type: ignore[arg-type]
        total += float(curved[site] / weight.numel() * lost)
    return total


def test_no_share_within_the_limits_perturbs_less() -> None:
    problem = deep()
    most = 5.0 * sum(problem.weights.values())
    table = {(s, g): float(i + 1) * stored_bits(g) for i, s in enumerate(problem.weights) for g in GRIDS}
    free = by_perturbation(replace(problem, most_bits=most))
    limit = 0.8 * sum(table[item] for item in free.items())
    problem = replace(problem, most_bits=most, more=((table, limit),))

    def legal(share: dict[str, object], limited: bool) -> bool:
        within = sum(table[item] for item in share.items()) <= limit  # type: ignore[index]
        return problem.bits(share) <= most and (within or not limited)  # type: ignore[arg-type]

    every = [dict(zip(problem.weights, grids, strict=True)) for grids in itertools.product(GRIDS, repeat=3)]
    for limited in (True, False):
        found = by_perturbation(problem if limited else replace(problem, more=()))
        best = min(damage_of(problem, s) for s in every if legal(s, limited))  # type: ignore[arg-type]
        assert legal(found, limited) and damage_of(problem, found) == pytest.approx(best)  # type: ignore[arg-type]
    assert found == free != by_perturbation(problem), "the further limit binds"


def test_where_curvature_is_equal_the_larger_error_decides() -> None:
    """Of two layers that do the same to the outputs the one that rounding hurts keeps the bits."""
    module = Twice(1.0)
    module.other.weight.data = torch.sign(module.other.weight.data)
    problem = problem_of(module, torch.randn(40, 6), 24 * (8 + stored_bits(GRIDS[2])))
    assert by_perturbation(problem) == {"one": GRIDS[0], "other": GRIDS[2]}


def test_where_little_is_felt_a_larger_error_counts_less() -> None:
    """The layer that rounding changes more is hardly felt in the outputs: the other one keeps the bits."""
    module = Twice(0.01)
    module.other.weight.data *= 3
    problem = problem_of(module, torch.randn(40, 6), 24 * (8 + stored_bits(GRIDS[2])))
    assert by_perturbation(problem) == {"one": GRIDS[0], "other": GRIDS[2]}


def test_limits_that_nothing_meets() -> None:
    with pytest.raises(DecisionError, match="no selection is within the limits"):
        by_perturbation(replace(deep(), most_bits=1.0))
