"""One pass over a cut net solves, in order, what reads from cuts, and says what it did and could not do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.reference import Reference
from whet.compress.solving import Solving
from whet.core.net import Net
from whet.graph.cut import cut


def perceptron() -> Net:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    return whet.lift(module, torch.randn(2, 6))


def reference(net: Net) -> Reference:
    generator = torch.Generator().manual_seed(1)
    data = [(torch.randn(400, *net.example[0].shape[1:], generator=generator),) for _ in range(3)]
    return Reference.of(net, data[1:], data[:1])


def test_a_reader_of_a_cut_is_the_least_squares_solution_on_the_rows_it_was_given() -> None:
    net = perceptron()
    found, smaller = reference(net), cut(net, {"2": range(8)})
    work = Solving(found, smaller, (1e-9,))
    work.run()
    assert set(work.changed) == {"4"} and not work.skipped
    with torch.no_grad():
        x = torch.cat([x for (x,) in found.batches])
        hidden = smaller.layer("2")(net.layer("0")(x).relu()).relu().double()
        wanted = net(x).double()
    ones = torch.ones(len(hidden), 1, dtype=torch.float64)
    solution = torch.linalg.lstsq(torch.cat([hidden, ones], 1), wanted, driver="gelsd").solution
    last = smaller.layer("4")
    # Rows are drawn, 16 for each input at most: these are fewer than the 800 there are.
    assert 2 * found.quota(next(r for r in found.readers.values() if r.site == "4")) < 800
    left = [(hidden @ w.T + b - wanted).square().mean() for w, b in (
        (last.get_parameter("weight").double(), last.get_parameter("bias").double()), (solution[:-1].T, solution[-1]),
    )]  # fmt: skip
    assert left[1] <= left[0] < 1.1 * left[1]
    after, before = work.errors["4"]
    assert after < before


def test_layers_behind_a_cut_are_solved_on_what_the_solved_ones_give() -> None:
    net = perceptron()
    found, smaller = reference(net), cut(net, {"0": range(8), "2": range(8)})
    work = Solving(found, smaller, (1e-6, 1e-2))
    work.run()
    assert (list(work.changed) == ["2", "4"] and work.touched >= {"_0", "_2", "_4"}) or len(work.touched) >= 3
    x = torch.randn(500, 6)
    with torch.no_grad():
        errors = [float((n(x) - net(x)).square().mean()) for n in (smaller, cut(net, {"0": range(8), "2": range(8)}))]
    assert errors[0] < 0.5 * errors[1]


def test_a_net_that_was_not_cut_is_left_as_it_is() -> None:
    net = perceptron()
    copied = net.copy()
    work = Solving(reference(net), copied, (1e-2,))
    work.run()
    assert not (work.changed or work.skipped or work.touched)
    assert all(map(torch.equal, net.module.state_dict().values(), copied.module.state_dict().values()))


def test_a_cut_that_left_no_notes_names_the_layer_whose_outputs_are_unknown() -> None:
    net = perceptron()
    found, smaller = reference(net), cut(net, {"0": range(8), "2": range(8)})
    smaller.module.meta.clear()
    work = Solving(found, smaller, (1e-2,))
    work.run()
    assert work.skipped["2"].startswith("it is not known which of its outputs") and "4" in work.changed


class Steps(nn.Module):
    """Positions that are left out in front of a layer."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.write, self.read, self.every = nn.Linear(3, 8), nn.Linear(8, 2), every

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.read(self.write(x)[:, :: self.every])
        return y


@pytest.mark.parametrize("every", [2, 3])
def test_other_positions_than_in_the_original_are_told(every: int) -> None:
    torch.manual_seed(0)
    nets = [whet.lift(Steps(n), torch.randn(2, 6, 3)) for n in (1, every)]
    work = Solving(reference(nets[0]), nets[1], (1e-2,))
    work.run()
    assert all("other positions" in reason for reason in work.skipped.values()) and not work.changed
