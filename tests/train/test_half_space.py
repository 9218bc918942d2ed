"""Whole channels become zero where a step would lead them out of their half-space, and are cut without a difference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_training import F32, Blind, interrupted, network, task

import whet
from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.graph.axes import analyze
from whet.graph.empty import exact, without_empty
from whet.graph.probe import apart
from whet.train.fit import fit
from whet.train.half_space import Atoms, HalfSpace
from whet.train.technique import Hooks, Session

PLAIN = replace(F32, weight_decay=0.0, momentum=0.0, clip_norm=0.0, warmup=0.0, schedule="constant")


def lifted(module: nn.Module | None = None) -> Net:
    return whet.lift(module or network(), (torch.randn(4, 6, generator=torch.Generator().manual_seed(1)),))


def vectors(net: Net, layer: str = "0") -> Tensor:
    """Return x_g of the hidden neurons: their weights and bias, `(32, 7)`."""
    weight, bias = (net.module.get_parameter(f"{layer}.{name}") for name in ("weight", "bias"))
    return torch.cat([weight, bias[:, None]], 1).detach()


@dataclass(frozen=True)
class Watch:
    """Notes the norms of the hidden neurons of layer 1 behind each step."""

    seen: list[Tensor]

    def begin(self, session: Session) -> Hooks:
        assert isinstance(session.net, Net)
        net = session.net
        return Hooks(after_step=lambda: self.seen.append(vectors(net, "1").norm(dim=1)))


@pytest.mark.parametrize("epsilon", [0.0, 0.9])
def test_a_step_is_the_papers_closed_form(epsilon: float) -> None:
    free, net = lifted(), lifted()
    x = vectors(net)
    fit(free, task(), recipe=PLAIN, samples=32)
    penalty, size = (1.0 if epsilon == 0 else 0.1), x.norm(dim=1, keepdim=True)
    fit(net, task(), recipe=PLAIN, samples=32, techniques=(HalfSpace(1.0, penalty, epsilon, start=0.0),))
    trial = vectors(free) - penalty * size.mean() * x / size
    gone = (trial * x).sum(1) < epsilon * x.square().sum(1)
    largest = x.norm(dim=1).argmax()
    gone[largest], trial[largest] = False, vectors(free)[largest]
    assert 3 < int(gone.sum()) < 29
    assert torch.allclose(vectors(net), trial * ~gone[:, None], atol=1e-6)
    assert torch.equal((net.module.get_parameter("2.weight") == 0).all(0), gone)
    assert torch.equal(net.module.get_parameter("2.bias"), free.module.get_parameter("2.bias"))


def test_exactly_the_redundant_neurons_go_as_fast_as_the_penalty_says() -> None:
    """Neurons that see only what is hidden have no gradient: each step takes penalty d mean |x_g| from their norms."""
    module, planted = network(), slice(4, 12)
    first = module[0]
    with torch.no_grad():
        first.get_parameter("weight")[planted] = torch.tensor([0.09, 0.12, 0.0, 0.0, 0.0, 0.0])
        first.get_parameter("bias")[planted] = 0.0
    net = lifted(nn.Sequential(Blind(), *module))
    seen = [vectors(net, "1").norm(dim=1)]
    watch = Watch(seen)
    fit(net, task(), recipe=PLAIN, samples=32 * 25, techniques=(HalfSpace(0.25, 1.0, start=0.0), watch))
    for before, after in pairwise(seen):
        rate = float(before[before > 0].mean()) / 25
        wanted = [size - rate if size > rate else 0.0 for size in before[planted].tolist()]
        assert after[planted].tolist() == pytest.approx(wanted, abs=1e-6)
    assert (seen[-1] == 0).nonzero().flatten().tolist() == list(range(4, 12)) and (seen[4] > 0).all()
    narrow = without_empty(net)
    assert narrow.layer("1").out_features == 24
    x = torch.randn(50, 6)
    assert apart(narrow(x).detach(), net(x).detach()) < 1e-6


class Convolutions(nn.Sequential):
    def __init__(self, activation: nn.Module) -> None:
        torch.manual_seed(0)
        super().__init__(
            nn.Unflatten(1, (1, 2, 3)),
            nn.Conv2d(1, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            activation,
            nn.Conv2d(12, 12, 3, padding=1, groups=12),
            activation,
            nn.Conv2d(12, 8, 1),
            activation,
            nn.Flatten(),
            nn.Linear(48, 3),
        )


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Sigmoid()])
def test_what_went_to_zero_is_cut_without_a_difference_and_never_came_back(activation: nn.Module) -> None:
    net = lifted(Convolutions(activation))
    zeros: list[set[tuple[str, int]]] = []

    @dataclass(frozen=True)
    class Zeros:
        def begin(self, session: Session) -> Hooks:
            groups = analyze(net).groups

            def look() -> None:
                sizes = {site: Atoms(net, group).sizes() for site, group in groups.items()}
                zeros.append({(s, int(i)) for s, found in sizes.items() for i in (found == 0).nonzero()})

            return Hooks(after_step=look)

    report = fit(net, task(), recipe=F32, epochs=6, techniques=(HalfSpace(), Zeros()))
    assert not report.skipped and not zeros[10], "none before the start"
    assert all(a <= b for a, b in pairwise(zeros)) and zeros[-1]
    narrow, x = without_empty(net), torch.randn(50, 6)
    gone = [sum(s == site for s, _ in zeros[-1]) for site in ("1", "6")]
    assert sum(gone) == 10, "half of 20"
    assert [narrow.layer("1").weight.shape[0], narrow.layer("6").weight.shape[0]] == [12 - gone[0], 8 - gone[1]]
    assert narrow.parameter_count < net.parameter_count and apart(narrow(x).detach(), net(x).detach()) < 1e-5


def test_what_a_norm_averages_over_is_skipped_and_the_rest_is_not() -> None:
    torch.manual_seed(0)
    net = lifted(nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)))
    assert exact(net, analyze(net)) == ["2"]
    report = fit(net, task(), recipe=F32, epochs=4, techniques=(HalfSpace(),))
    assert report.skipped == {"0": "its atoms cannot be cut without changing the outputs"}
    sizes = {site: Atoms(net, group).sizes() for site, group in analyze(net).groups.items()}
    assert (sizes["0"] > 0).all() and (sizes["2"] == 0).any() and (sizes["2"] > 0).any()


def test_it_goes_on_exactly_after_an_interruption(tmp_path: Path) -> None:
    whole, resumed = interrupted(HalfSpace(), lifted, tmp_path)
    states = [n.module.state_dict().values() for n in (whole, resumed)]
    assert all(map(torch.equal, *states)) and (vectors(whole) == 0).all(1).any()


def test_the_largest_of_a_site_stays_whatever_the_penalty() -> None:
    net = lifted()
    largest = int(vectors(net).norm(dim=1).argmax())
    fit(net, task(), recipe=PLAIN, samples=96, techniques=(HalfSpace(1.0, 1000.0, start=0.0),))
    left = vectors(net).norm(dim=1)
    assert left.nonzero().flatten().tolist() == [largest] and left[largest] < 2
    assert without_empty(net).layer("0").out_features == 1


def test_a_module_is_told_that_its_channels_are_not_known() -> None:
    report = fit(network(), task(), recipe=F32, samples=32, techniques=(HalfSpace(),))
    assert "of a Net" in report.skipped["half-space"]


@pytest.mark.parametrize("wrong", [{"penalty": -1.0}, {"epsilon": 1.0}, {"start": 2.0}, {"share": 1.1}])
def test_values_that_cannot_be_meant_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueRangeError):
        HalfSpace(**wrong)
