"""Cardinality-constrained least squares: the quadratic model, the best weights of a support, which support is found."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.prune import magnitude
from whet.compress.prune.gradients import flat, gradients
from whet.compress.prune.least_squares import Problem, exchange, pruned, thresholded
from whet.compress.prune.magnitude import Magnitude
from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Decision
from whet.graph.zeros import holds, zeros_of
from whet.testing.runs import planning_run


def problem(samples: int, size: int, seed: int = 0, damping: float = 0.1) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    rows, start = (torch.randn(s, generator=generator).double() for s in ((samples, size), (size,)))
    mixed = rows @ torch.randn(size, size, generator=generator).double()
    return Problem(mixed, start, damping)


def best_of_all(asked: Problem, count: int) -> tuple[float, float]:
    """Return the least objective of any support, and that of the largest weights left as they are."""
    size = len(asked.start)
    supports = [torch.zeros(size, dtype=torch.bool).index_fill(0, torch.tensor(c), True) for c in combinations(range(size), count)]  # fmt: skip  # noqa: E501
    return min(asked.objective(asked.solved(s)) for s in supports), asked.objective(thresholded(asked.start, count))


def test_the_objective_is_the_second_order_of_the_loss_with_the_fisher_matrix() -> None:
    asked, n = problem(7, 5), 7
    move = torch.tensor([0.1, -0.3, 0.0, 2.0, -1.0]).double()
    fisher = asked.rows.T @ asked.rows / n + asked.ridge / n * torch.eye(5).double()
    assert asked.objective(asked.start + move) == pytest.approx(n * float(move @ fisher @ move) / 2)
    assert asked.ridge == pytest.approx(0.1 * float((asked.rows.T @ asked.rows).trace()) / 5)


def test_the_best_weights_of_a_support_are_those_of_the_normal_equations() -> None:
    asked = problem(4, 9)
    support = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 1], dtype=torch.bool)
    hessian = asked.rows.T @ asked.rows + asked.ridge * torch.eye(9).double()
    some = hessian[support][:, support]
    wanted = torch.linalg.solve(some, (asked.rows.T @ asked.goal + asked.ridge * asked.start)[support])
    found = asked.solved(support)
    assert torch.allclose(found[support], wanted) and not found[~support].any()
    assert torch.allclose(asked.slope(found, asked.goal)[support], torch.zeros(5).double(), atol=1e-9)


def test_without_correlations_the_largest_of_curvature_and_weight_stay_as_they_are() -> None:
    """A diagonal A: w_q goes at a cost of (a_q^2 + ridge) w_q^2 / 2, and the others have nothing to make up for."""
    scales = torch.tensor([5.0, 0.1, 3.0, 0.2, 1.0, 0.3]).double()
    asked = Problem(torch.diag(scales), torch.tensor([0.5, 2.0, 0.7, 1.9, 1.5, 1.0]).double(), 0.0)
    found = pruned(asked, 3)
    assert (found != 0).tolist() == [True, False, True, False, True, False]
    assert torch.allclose(found[found != 0], asked.start[found != 0])


def test_exchanges_find_what_no_search_through_all_supports_betters_much() -> None:
    excess, gain, exact = 0.0, 0.0, 0
    for seed in range(12):
        asked = problem(12, 10, seed)
        least, _ = best_of_all(asked, 4)
        found = pruned(asked, 4)
        assert int((found != 0).sum()) == 4 and asked.objective(found) >= least * (1 - 1e-9)
        solved = asked.objective(asked.solved(thresholded(asked.start, 4) != 0))
        excess += asked.objective(found) / least - 1
        gain += solved / asked.objective(found)
        exact += asked.objective(found) <= least * (1 + 1e-9)
    assert exact >= 5 and excess / 12 < 0.25 and gain / 12 > 1.5


def test_what_comes_gains_most_and_what_goes_costs_least() -> None:
    asked = Problem(torch.diag(torch.tensor([1.0, 2.0, 1.0, 3.0, 0.1])), torch.tensor([1.0, 1.0, 4.0, 1.0, 5.0]), 0.0)
    weights = torch.tensor([1.0, 0.0, 4.0, 0.0, 5.0])
    assert exchange(asked, weights, asked.goal, 1).tolist() == [True, False, True, True, False]
    assert exchange(asked, weights, asked.goal, 5).tolist() == [False, True, True, True, False]


def perceptron() -> tuple[Net, Run]:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 3)), torch.randn(2, 6))  # fmt: skip  # noqa: E501
    return net, planning_run(net)


def weights_of(net: Net, *names: str) -> dict[str, Tensor]:
    return {name: net.layer(name).get_parameter("weight").detach() for name in names}


@pytest.mark.parametrize("by", ["least-squares", "entropic", "matrix-free"])
def test_a_pass_prunes_by_it_and_holds_the_zeros(by: str) -> None:
    net, run = perceptron()
    done = Magnitude(by=by, least=64, samples=16).apply(net, Decision({"network:zeros": 0.8}), run)
    count = sum(w.numel() for w in weights_of(net, "0", "2", "4").values())
    layers = [done.net.layer(name) for name in ("0", "2", "4")]
    assert sum(map(zeros_of, layers)) == int(0.8 * count + 0.5) and all(map(holds, layers))
    assert [c.site for c in done.changed] == ["0", "2", "4"]
    plain = Magnitude(least=64).apply(net, Decision({"network:zeros": 0.8}), run).net
    rows = gradients(net, ["0", "2", "4"], run, 16)
    before = flat(weights_of(net, "0", "2", "4"))
    asked = Problem(rows, before)
    costs = [asked.objective(flat(weights_of(n, "0", "2", "4"))) for n in (done.net, plain)]
    if by == "least-squares":
        assert costs[0] < 0.8 * costs[1]
    moved = flat(weights_of(done.net, "0", "2", "4"))
    assert not torch.equal(moved[moved != 0], before[moved != 0]), "what is left makes up for what went"


def test_stages_ask_for_more_and_more_zeros_with_gradients_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    net, run = perceptron()
    asked: list[tuple[float, int]] = []

    def watched(given: Net, weights: dict[str, Tensor], share: float, *more: Any) -> dict[str, Tensor]:
        asked.append((share, int(sum((w == 0).sum() for w in weights.values()))))
        return magnitude.least_squares(given, weights, share, *more)

    monkeypatch.setitem(magnitude.PRUNERS, "least-squares", watched)
    done = Magnitude((0.0, 0.875), by="least-squares", stages=3, least=64, samples=8)
    result = done.apply(net, Decision({"network:zeros": 0.875}), run)
    count = sum(w.numel() for w in weights_of(net, "0", "2", "4").values())
    assert [share for share, _ in asked] == pytest.approx([0.5, 0.75, 0.875])
    assert [zeros for _, zeros in asked] == [0, int(0.5 * count + 0.5), int(0.75 * count + 0.5)]
    assert sum(zeros_of(result.net.layer(n)) for n in ("0", "2", "4")) == int(0.875 * count + 0.5)
