"""Inputs of few bits: where they stand and on which grids, that training learns their steps, that no file has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.few_bit_inputs import NETWORK, FewBitInputs
from whet.compress.quantize.observers import Seen, mean_squared_error, rounding_error, symmetric
from whet.core.checks import ValueRangeError
from whet.core.errors import TargetError
from whet.core.space import Decision
from whet.graph.fake_quantize import ActivationQuantizer, IntegerWeight, quantize_weight
from whet.graph.grids import Grid, InputGrid
from whet.hardware import targets
from whet.testing import passes
from whet.testing.runs import AlignedTarget, planning_run
from whet.train.fit import fit
from whet.train.recipe import Recipe

ON = Decision({NETWORK: "simulated"})
F32 = Recipe(learning_rate=0.02, precision="f32")


@dataclass(frozen=True)
class FourBitTarget(AlignedTarget):
    """A runtime that there is not: it multiplies inputs of four bits."""

    def kernels(self) -> tuple[str, ...]:
        return "int8", "int4", "int4 inputs"


def network() -> whet.Net:
    """Return four convolutions and a linear layer; the second reads a map that a sum reads as well."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), Twice(), nn.ReLU(), nn.Flatten())
    return whet.lift(nn.Sequential(body, nn.Linear(8 * 36, 4)).eval(), (torch.randn(8, 3, 6, 6),))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.first(x) + self.second(x)


def test_conforms() -> None:
    net, target = network(), FourBitTarget()
    assert [c.name for c in passes.check(FewBitInputs(), net, target, planning_run(net))] == [NETWORK]


def test_layers_between_the_ends_have_few_bits_and_readers_of_a_tensor_share_its_grid() -> None:
    net = network()
    result = FewBitInputs().apply(net, ON, planning_run(net))
    quantizers = {n: m for n, m in result.net.layers().items() if isinstance(m, ActivationQuantizer)}
    assert {n: m.grid.bits for n, m in quantizers.items()} == {"0.0_input": 8, "0.3.first_input": 4, "1_input": 8}
    grids = {n: m.grid for n, m in result.net.layers().items() if isinstance(m, IntegerWeight)}
    assert grids == {"0.0": Grid(8), "0.3.first": Grid(4), "0.3.second": Grid(4), "1": Grid(8)}
    assert result.texts["0.3.second"] == "weights int4, 4-bit inputs, simulated"
    (read,) = (n for n in result.net.graph.nodes if str(n.target) == "0.3.first_input")
    readers = {str(u.target) for u in read.users}
    assert readers == {"0.3.first", "0.3.second"}, "the sum reads what is not rounded"
    assert {"0.1"} <= result.net.layers().keys(), "batch norms stay"
    whole = FewBitInputs(ends_bits=4).apply(net, ON, planning_run(net)).net
    assert {m.grid.bits for m in whole.layers().values() if isinstance(m, ActivationQuantizer)} == {4}


def test_inputs_lie_on_sixteen_numbers_and_zero_is_one_of_them() -> None:
    net = network()
    small = FewBitInputs().apply(net, ON, planning_run(net)).net
    seen: list[torch.Tensor] = []
    small.layer("0.3.first").register_forward_hook(lambda m, given, out: seen.append(given[0]))
    small(*net.example)
    levels = seen[0].detach().unique()
    assert 8 < len(levels) <= 16 and float(levels.min()) == 0.0
    quantizer = small.layer("0.3.first_input")
    assert torch.allclose(levels / quantizer.scale, (levels / quantizer.scale).round(), atol=1e-4)  # type: ignore[operator]


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_the_step_of_inputs_begins_where_the_squared_error_is_least(bits: int) -> None:
    """Of a normal distribution Banner et al. clip at 1.71, 2.15, 2.55 and 3.2 deviations or so: the range is cut."""
    values = torch.randn(60_000, generator=torch.Generator().manual_seed(0))
    most, seen = InputGrid(bits).most, Seen.whole(values)
    low, high = mean_squared_error(seen, symmetric, most=most)
    found = rounding_error(values, low, high, symmetric, most)
    others = [rounding_error(values, -c, c, symmetric, most) for c in torch.linspace(0.8, 4.4, 37).tolist()]
    assert found <= min(others) * 1.02
    assert high < 0.85 * float(values.max())


def test_the_largest_inputs_are_clipped_in_the_network_too() -> None:
    net = network()
    small = FewBitInputs(input_bits=2).apply(net, ON, planning_run(net)).net
    seen: list[float] = []
    quantizer = small.layer("0.3.first_input")
    quantizer.register_forward_hook(lambda m, given, out: seen.append(float(given[0].detach().max())))
    small(*net.example)
    assert 0.2 * seen[0] < 3 * float(quantizer.get_buffer("scale")) < 0.8 * seen[0]


def test_fewer_bits_lose_more() -> None:
    net = network()

    def error(item: FewBitInputs) -> float:
        small = item.apply(net, ON, planning_run(net)).net
        with torch.no_grad():
            return float((small(*net.example) - net(*net.example)).square().mean())

    errors = [error(FewBitInputs(weight_bits=8, input_bits=bits, ends_bits=8)) for bits in (8, 6, 4, 3, 2, 1)]
    assert errors == sorted(errors) and errors[0] < 1e-2 * errors[-1]


def test_training_learns_the_steps_of_inputs_of_few_bits_and_of_no_others() -> None:
    net = network()
    run = planning_run(net)
    small = FewBitInputs(input_bits=2).apply(net, ON, run).net
    quantizers = {n: m for n, m in small.layers().items() if isinstance(m, ActivationQuantizer)}
    before = {n: float(m.scale) for n, m in quantizers.items()}
    fit(small, run.task, teacher=net, recipe=F32, samples=32)
    moved = {n for n, m in quantizers.items() if float(m.scale) != before[n]}
    assert moved == {"0.3.first_input"}
    assert not any(m.scale.requires_grad for m in quantizers.values())


def test_no_search_may_choose_it_and_no_file_is_written(tmp_path: Path) -> None:
    net, target = network(), targets.get("cpu")
    with pytest.raises(TargetError, match="no runtime of target 'cpu' multiplies inputs of 4 bits: w4a4 is simulated"):
        FewBitInputs().space(net, target)
    small = FewBitInputs().apply(net, ON, planning_run(net)).net
    with pytest.raises(TargetError, match=r"'0.3.first_input' has 4-bit inputs, simulated: no runtime here"):
        target.save(small, tmp_path)
    eight = FewBitInputs(weight_bits=4, input_bits=8).apply(net, ON, planning_run(net)).net
    assert target.save(eight, tmp_path).exists()


def test_what_is_on_a_grid_or_of_another_kind_is_skipped_with_its_reason() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Flatten(), nn.Linear(24, 6), nn.Linear(6, 6), nn.Linear(6, 4))
    net = whet.lift(layers.eval(), (torch.randn(4, 2, 4, 4, 4),))
    net.module.set_submodule("3", quantize_weight(net.layer("3"), Grid(4)))
    result = FewBitInputs().apply(net, ON, planning_run(net))
    assert result.skipped["3"] == "its weights are in int4 already."
    assert result.skipped["0"] == "inputs of few bits are for Conv1d, Conv2d, Linear; this is a Conv3d."
    assert result.texts.keys() == {"2", "4"}


def test_bits_that_there_are_not_are_refused_and_names_tell_the_format() -> None:
    with pytest.raises(ValueRangeError, match="input_bits must be from 1 to 8; got 9"):
        FewBitInputs(input_bits=9)
    names = [FewBitInputs(*bits).name for bits in ((), (2, 3), (4, 4, 4))]
    assert names == ["w4a4", "w2a3", "w4a4 throughout"]
