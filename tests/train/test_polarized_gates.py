"""Gates that look at their inputs: what polarizes them, their step, the consensus, and an exact cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_training import F32, interrupted, network, task

import whet
from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.graph.axes import analyze
from whet.graph.empty import without_empty
from whet.train.fit import fit
from whet.train.polarized_gates import InputGates, PolarizedGates, polarized


def lifted(module: nn.Module | None = None) -> Net:
    return whet.lift((module or network()).eval(), (torch.randn(4, 6, generator=torch.Generator().manual_seed(1)),))


def gates_of(net: Net, site: str = "0") -> InputGates:
    return InputGates(net, analyze(net).groups[site])


def test_what_polarizes_is_the_variance_over_samples_and_the_cost_is_of_the_size() -> None:
    opened = [(torch.randn(64, n) > s).float() for n, s in ((7, 0.0), (5, 1.0))]
    every = torch.cat(opened, 1)
    variance = every.var(0, unbiased=False).mean()
    assert polarized(opened, 1.0, 0.0, 0.5).item() == pytest.approx(variance.item(), rel=1e-5)
    assert polarized(opened, 0.0, 3.0, 0.25).item() == pytest.approx(3 * (every.mean().item() - 0.25) ** 2, rel=1e-4)
    agreed = [x[:1].expand(64, -1) for x in opened]
    assert polarized(agreed, 1.0, 0.0, 0.5).item() == 0


def test_a_gate_looks_at_its_input_and_has_the_slope_of_what_its_opening_changes() -> None:
    net = lifted()
    gates, x = gates_of(net), torch.randn(16, 6)
    with torch.no_grad():
        gates.offset.copy_(torch.linspace(-1, 1, 32)), gates.look.copy_(torch.randn(32, 32))
    hidden = net.layer("0")(x).relu().detach()  # type: ignore[operator, union-attr]
    z = gates.offset + (hidden / hidden.norm(dim=1, keepdim=True)) @ gates.look.T
    opened = (z > 0).float()
    assert 0.2 < float(opened.mean()) < 0.8 and (opened.var(0) > 0).any()
    weight, bias = (net.module.get_parameter(f"2.{name}").detach() for name in ("weight", "bias"))
    handles = gates.hooked()
    out = net(x)
    torch.testing.assert_close(out, (hidden * opened) @ weight.T + bias)
    out.square().sum().backward()
    for handle in handles:
        handle.remove()
    slope = (2 * out.detach() @ weight) * hidden * z.detach().sigmoid()
    torch.testing.assert_close(gates.offset.grad, slope.sum(0))
    torch.testing.assert_close(gates.look.grad, slope.T @ (hidden / hidden.norm(dim=1, keepdim=True)))
    torch.testing.assert_close(gates.state["share"], 0.9 + 0.1 * opened.mean(0))
    torch.testing.assert_close(net(x), hidden @ weight.T + bias)


def test_a_step_is_against_the_mean_slope_by_its_mean_size() -> None:
    gates = gates_of(lifted())
    slope = torch.linspace(-1, 2, 32)
    gates.offset.grad, gates.look.grad = slope.clone(), None
    gates.step(0.5)
    torch.testing.assert_close(gates.offset.detach(), 1 - 0.5 * slope / slope.abs().mean())
    gates.offset.grad = -slope
    before = gates.offset.detach().clone()
    gates.step(0.5)
    mean = 0.9 * 0.1 * slope - 0.1 * slope
    torch.testing.assert_close(gates.offset.detach(), before - 0.5 * mean / mean.abs().mean())
    assert gates.offset.grad is None and not gates.look.any()


def test_with_polarity_samples_come_to_a_consensus_that_is_as_large_as_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variances = dict[float, list[float]]()

    def noted(opened: list[Tensor], polarity: float, cost: float, goal: float) -> Tensor:
        shares = torch.cat([gate.detach().mean(0) for gate in opened])
        variances.setdefault(polarity, []).append(float((shares * (1 - shares)).mean()))
        return polarized(opened, polarity, cost, goal)

    monkeypatch.setattr("whet.train.polarized_gates.polarized", noted)
    for polarity in (0.0, 1.0):
        net = lifted()
        fit(net, task(), recipe=F32, samples=32 * 200, techniques=(PolarizedGates(0.5, polarity),))
        gone = (net.module.get_parameter("0.weight") == 0).all(1)
        assert 12 <= int(gone.sum()) <= 20 and not net.module.get_parameter("2.weight")[:, gone].any()
        narrow, x = without_empty(net), torch.randn(50, 6)
        assert narrow.layer("0").out_features == 32 - int(gone.sum())
        torch.testing.assert_close(narrow(x), net(x))
    last = {polarity: sum(seen[-20:]) / 20 for polarity, seen in variances.items()}
    assert last[1.0] < 0.3 * last[0.0] and last[0.0] > 0.03, last
    assert [len(seen) for seen in variances.values()] == [120, 120], "gates stand still at last"


def test_the_gate_that_was_open_most_often_stays_and_what_most_say_counts() -> None:
    gates = gates_of(lifted())
    gates.state["share"].copy_(torch.linspace(0.0, 0.4, 32))
    assert gates.consensus().nonzero().flatten().tolist() == [31]
    gates.state["share"].copy_(torch.linspace(0.0, 1.0, 32))
    assert gates.consensus().nonzero().flatten().tolist() == list(range(16, 32))
    gates.learning = False
    assert torch.equal(gates.decide(torch.randn(3, 32), 1), gates.consensus().float().expand(3, 32))


def test_gates_of_convolutions_look_at_the_mean_of_maps_and_layers_share_a_decision() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.enter(x).relu()
            return (self.one(x) - self.two(x)).mean((2, 3))  # type: ignore[no-any-return]

    net = whet.lift(Two().eval(), (torch.randn(2, 3, 6, 6),))
    gates, x = gates_of(net, "enter"), torch.randn(5, 3, 6, 6)
    with torch.no_grad():
        gates.offset.zero_(), gates.look.copy_(torch.randn(8, 8))
    hidden = net.layer("enter")(x).relu().detach()  # type: ignore[operator, union-attr]
    mean = hidden.mean((2, 3))
    opened = (mean / mean.norm(dim=1, keepdim=True)) @ gates.look.detach().T > 0
    gated = (hidden * opened[:, :, None, None]).mean((2, 3))
    weights = [net.module.get_parameter(f"{n}.weight").detach().flatten(1) for n in ("one", "two")]
    biases = [net.module.get_parameter(f"{n}.bias").detach() for n in ("one", "two")]
    handles = gates.hooked()
    torch.testing.assert_close(net(x), gated @ (weights[0] - weights[1]).T + biases[0] - biases[1])
    for handle in handles:
        handle.remove()


def test_it_goes_on_exactly_after_an_interruption(tmp_path: Path) -> None:
    whole, resumed = interrupted(PolarizedGates(), lifted, tmp_path)
    assert all(map(torch.equal, *(n.module.state_dict().values() for n in (whole, resumed))))


def test_a_module_is_skipped_and_it_is_said() -> None:
    report = fit(network(), task(), recipe=F32, samples=32, techniques=(PolarizedGates(),))
    assert "of a Net" in report.skipped["polarized-gates"]


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"polarity": -1.0}, {"speed": 0.0}, {"learning": 0.0}])
def test_values_that_cannot_be_meant_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueRangeError):
        PolarizedGates(**wrong)
