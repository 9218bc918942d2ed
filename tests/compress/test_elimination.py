from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.elimination import Elimination, order_of_removal
from whet.compress.importance import error_rise, weight_norm
from whet.compress.moments import Moments, Sums, moments
from whet.compress.reference import Reference
from whet.compress.repair import output_error, repaired
from whet.compress.width import Width
from whet.core.space import Decision
from whet.graph.axes import analyze
from whet.graph.cut import cut
from whet.graph.readers import find_readers
from whet.testing.runs import planning_run


def layer(groups: int = 1, outputs: int = 3, inputs: int = 12) -> tuple[Tensor, Moments]:
    """Return a weight, and the moments of correlated inputs with what it gives."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(groups, 500, inputs, generator=generator) @ torch.randn(groups, inputs, inputs, generator=generator)
    weight = torch.randn(groups, outputs, inputs, generator=generator)
    sums = Sums()
    sums.add(x + 2, (x + 2) @ weight.mT)
    return weight, sums.moments()


def error_without(weight: Tensor, found: Moments, gone: list[int]) -> float:
    """Return the share of the output's variance that is lost without some columns, the others solved anew."""
    left = [i for i in range(weight.shape[-1]) if i not in gone]
    xx, yx = found.xx[:, left][:, :, left], found.yx[:, :, left]
    best = torch.linalg.solve(xx, yx.mT).mT
    return float((found.yy.sum() - (best * yx).sum()) / found.yy.sum())


@pytest.mark.parametrize("groups", [1, 2])
def test_rises_are_those_of_solving_anew(groups: int) -> None:
    weight, found = layer(groups)
    columns = torch.arange(12).view(4, 3)
    reader = Elimination(weight, found, columns, ridge=1e-12)
    alone = reader.rises(torch.arange(4))
    for atom in range(4):
        assert float(alone[atom]) == pytest.approx(error_without(weight, found, columns[atom].tolist()), rel=1e-6)
    reader.remove(torch.tensor([2]))
    both = error_without(weight, found, columns[[2, 0]].flatten().tolist())
    assert float(alone[2] + reader.rises(torch.tensor([0]))[0]) == pytest.approx(both, rel=1e-6)


def test_the_cheapest_goes_first_given_what_is_gone() -> None:
    weight, found = layer()
    columns = torch.arange(12).view(12, 1)
    costs = order_of_removal([Elimination(weight, found, columns, ridge=1e-12)], 12)
    gone: list[int] = []
    for atom in np.argsort(costs)[:8].tolist():
        errors = {i: error_without(weight, found, [*gone, i]) for i in range(12) if i not in gone}
        assert errors[atom] == pytest.approx(min(errors.values()), rel=1e-6)
        assert costs[atom] == pytest.approx(errors[atom], rel=1e-5)
        gone.append(atom)


def test_large_groups_go_several_at_a_time() -> None:
    weight, found = layer(inputs=40)
    columns = torch.arange(40).view(40, 1)
    many = order_of_removal([Elimination(weight, found, columns)], 40, steps=5)
    assert sorted(np.argsort(many).tolist()) == list(range(40))
    lost = error_without(weight, found, np.argsort(many)[:20].tolist())
    generator = np.random.default_rng(0)
    drawn = [error_without(weight, found, generator.permutation(40)[:20].tolist()) for _ in range(20)]
    assert lost < 0.7 * min(drawn)


class Twice(nn.Module):
    """Two layers read the same channels: one the first half alone, the other the second."""

    def __init__(self) -> None:
        super().__init__()
        self.write, self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 3), nn.Linear(8, 3)
        with torch.no_grad():
            self.one.weight[:, 4:] = 0
            self.two.weight[:, :4] = 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.write(x).relu()
        return torch.cat([self.one(y), self.two(y)], 1)


def test_every_reader_counts() -> None:
    torch.manual_seed(0)
    net = whet.lift(Twice(), torch.randn(2, 8))
    run = planning_run(net)
    scores = error_rise(net, [analyze(net).groups["write"]], run, 32)["write"]
    assert (np.diff(np.sort(scores)) > 1e-3).all()


BUILDERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), (6,)),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(6, 16, 3), nn.ReLU(), nn.Conv2d(16, 3, 3, 2)), (6, 9, 9)),
    "transposed": (lambda: nn.Sequential(nn.Conv2d(9, 16, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 2, 2)), (9, 5, 5)),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_of_two_channels_alike_one_goes_for_nothing(name: str) -> None:
    torch.manual_seed(0)
    build, shape = BUILDERS[name]
    module = build()
    with torch.no_grad():
        module[0].weight[8:], module[0].bias[8:] = module[0].weight[:8], module[0].bias[:8]  # type: ignore[index]
    net = whet.lift(module, torch.randn(2, *shape))
    run = planning_run(net) if name == "linear" else None
    data = [(torch.randn(32, *shape),) for _ in range(3)]
    (site,) = (s for s, g in analyze(net).groups.items() if g.size == 16)
    if run is None:
        reader = next(r for r in find_readers(net)[0].values() if r.site == "2")
        member = next(m for m in analyze(net).groups[site].members if m.parameter == "2.weight")
        found = moments(net, data, [reader])["2"]
        part = Elimination(reader.matrix(net), found, reader.columns(net, torch.from_numpy(member.atom)))
        scores = order_of_removal([part], 16)
    else:
        scores = error_rise(net, [analyze(net).groups[site]], run, 32)[site]
    kept = np.argsort(-scores)[:8]
    assert sorted(i % 8 for i in kept.tolist()) == list(range(8))
    assert np.sort(scores)[7] < 2e-3 < np.sort(scores)[8]


@pytest.mark.parametrize("name, kind", [("resnet20", ".conv1"), ("mobilenet", "0.0")])
def test_chosen_and_solved_it_errs_less_than_by_the_norm(name: str, kind: str) -> None:
    net = shared_net(name)
    run = planning_run(net)
    batches = [x for x, _ in run.task.train]  # type: ignore[union-attr]
    found = Reference.of(net, batches, batches[:1])
    sites = [s for s in analyze(net).groups if s.endswith(kind)]
    decision = Decision({f"{s}:width": 0.5 for s in sites})
    errors = [
        output_error(found, repaired(found, Width(importance=i, tie="none").apply(net, decision, run).net).net)
        for i in ("error_rise", "weight_norm")
    ]
    assert errors[0] < errors[1]


def test_what_no_solvable_layer_reads_has_its_weight_norm() -> None:
    net = shared_net("encoder")
    run, groups = planning_run(net), [g for s, g in analyze(net).groups.items() if "query" in s and "heads" not in s]
    scores = error_rise(net, groups, run, 8)
    assert groups and all(np.array_equal(scores[g.site], weight_norm(net, [g], run, 8)[g.site]) for g in groups)


def test_what_a_recurrent_layer_reads_is_chosen_by_what_it_makes_up_for() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.write, self.rnn, self.head = nn.Linear(3, 8), nn.GRU(8, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(self.rnn(self.write(x))[0])
            return y

    torch.manual_seed(0)
    net = whet.lift(Steps(), torch.randn(2, 5, 3))
    scores = error_rise(net, [analyze(net).groups["write"]], planning_run(net), 32)["write"]
    assert (np.sort(scores)[:5] < 1e-2).all() and (np.sort(scores)[5:] > 0.02).all()  # three inputs span what eight say


def test_a_reference_keeps_its_cut_when_the_cut_is_good() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)), torch.randn(2, 6))
    with torch.no_grad():
        net.layer("1").weight[:, 4:] = 0  # type: ignore[index, operator]
    smaller = cut(net, {"0": range(4)})
    found = Reference.of(net, [(torch.randn(9, 6),)], [(torch.randn(9, 6),)])
    assert output_error(found, repaired(found, smaller).net) <= output_error(found, smaller) + 1e-12


def test_scores_are_the_originals_and_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = shared_net("resnet20")
    run = replace(planning_run(net), teacher=net)
    group = analyze(net).groups["layer2.1.conv1"]
    before = error_rise(net, [group], run, 8)[group.site]
    other = net.copy()
    with torch.no_grad():
        other.layer("layer2.1.conv2").weight[:, :9] *= 9  # type: ignore[index, operator]
    monkeypatch.setattr("whet.compress.importance.moments", lambda *given: pytest.fail("collected again"))
    assert np.array_equal(error_rise(other, [group], run, 8)[group.site], before)
    monkeypatch.undo()
    assert not np.array_equal(error_rise(other, [group], replace(run, teacher=None), 8)[group.site], before)


def test_without_inputs_it_is_the_weight_norm() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(2, 3))
    run, groups = planning_run(net), list(analyze(net).groups.values())
    run.task = replace(run.task, train=None, calibration=None)
    assert np.array_equal(error_rise(net, groups, run, 8)["0"], weight_norm(net, groups, run, 8)["0"])
