"""Low rank: the error is what the singular values left out say, and what is left computes what it should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.factorize.svd import Svd
from whet.core.errors import CalibrationError, DecisionError
from whet.core.space import Decision
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run

TARGET = AlignedTarget()


def correlated(count: int, width: int, rank: int, seed: int = 0) -> Tensor:
    """Return rows that vary in `rank` directions for the most part, about a mean that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(rank, width, generator=generator)
    noise = 0.05 * torch.randn(count, width, generator=generator)
    return torch.randn(count, rank, generator=generator) @ mixing + noise + torch.linspace(-1, 2, width)


def linear(x: Tensor, out: int, bias: bool = True) -> tuple[whet.Net, whet.Run]:
    torch.manual_seed(1)
    net = whet.lift(nn.Sequential(nn.Linear(x.shape[1], out, bias)).eval(), (x[:2],))
    run = planning_run(net)
    return net, replace(run, task=replace(run.task, calibration=[(x, None)], train=None))


@pytest.mark.parametrize(("name", "least"), [("resnet20", 30000), ("encoder", 1000)])
def test_conforms(name: str, least: int) -> None:
    net = shared_net(name)
    assert len(check(Svd(least=least), net, TARGET, planning_run(net), count=1))


@pytest.mark.parametrize("bias", [True, False])
def test_the_error_is_the_energy_of_the_singular_values_left_out(bias: bool) -> None:
    """Eckart and Young: |W S - [W S]_r|^2 is the sum of the squares of the others, and nothing of rank r errs less."""
    x = correlated(600, 48, rank=9)
    net, run = linear(x, 40, bias)
    item = Svd(samples=600, round_to=1, least=16)
    result = item.apply(net, Decision({"0:rank": 0.5}), run)
    rank = item.rank(net.layer("0").weight.detach(), 0.5)  # type: ignore[operator, union-attr, arg-type]
    centred = x - x.mean(0) if bias else x
    moments = centred.double().T @ centred.double() / len(x)
    values, vectors = torch.linalg.eigh(moments)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    weight = net.layer("0").weight.detach().double()  # type: ignore[operator, union-attr]
    energy = torch.linalg.svdvals(weight @ root).square()
    error = float((net(x) - result.net(x)).double().square().sum(1).mean())
    assert error == pytest.approx(float(energy[rank:].sum()), rel=1e-3)
    plain = torch.linalg.svd(weight)
    truncated = plain.U[:, :rank] * plain.S[:rank] @ plain.Vh[:rank]
    assert error < 0.5 * float(((weight - truncated) @ root).square().sum())  # of the weight alone


def test_inputs_of_few_directions_need_no_more_rank() -> None:
    x = correlated(600, 48, rank=4) - 0.0
    exact = (
        x
        @ torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:4].T
        @ torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:4]
    )
    net, run = linear(exact, 40)
    result = Svd(samples=600, round_to=1, least=16).apply(net, Decision({"0:rank": 0.25}), run)
    torch.testing.assert_close(result.net(exact), net(exact), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stride, padding, dilation", [(1, 1, 1), (2, 0, 1), (1, 2, 2)])
def test_a_convolution_of_full_rank_gives_what_it_gave(stride: int, padding: int, dilation: int) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(8, 4, 3, stride, padding, dilation), nn.ReLU()).eval()
    x = torch.randn(16, 8, 12, 12)
    net = whet.lift(module, (x[:2],))
    item = Svd((0.99, 1.0), least=16, round_to=1)
    run = planning_run(net)
    run = replace(run, task=replace(run.task, calibration=[(x, None)], train=None))
    result = item.apply(net, Decision({"0:rank": 0.99}), run)
    assert result.texts == {"0": "rank 4 of 4"} and set(result.net.layers()) >= {"0.reduce", "0.expand"}
    torch.testing.assert_close(result.net(x), net(x), rtol=1e-3, atol=1e-4)


def test_a_fraction_is_of_the_operations() -> None:
    item, matrix = Svd(), torch.zeros(256, 512)
    for fraction in (0.25, 0.5, 0.75):
        assert item.rank(matrix, fraction) * sum(matrix.shape) / matrix.numel() == pytest.approx(fraction, abs=0.05)
        assert item.rank(matrix, fraction) % 8 == 0
    net, run = linear(correlated(64, 128, 9), 96)
    shares = item.shares(net, run)["0:rank"]
    assert [s["0"] for s in shares] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.1)


def test_damages_are_shares_of_the_variance_that_fall_with_the_rank() -> None:
    x = correlated(600, 128, rank=20)
    net, run = linear(x, 96)
    item = Svd(samples=600)
    found = item.damages(net, run)["0:rank"]
    assert found == sorted(found, reverse=True) and found[-1] == 0 and 0 < found[0] < 1
    result = item.apply(net, Decision({"0:rank": 0.25}), run)
    error = float((net(x) - result.net(x)).square().sum(1).mean() / net(x).var(0, correction=0).sum())
    assert found[0] == pytest.approx(error, rel=0.02)


def test_what_cannot_be_treated_is_no_choice_or_skipped() -> None:
    module = nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.Flatten(), nn.Linear(8 * 36, 4), nn.Linear(4, 200)).eval()
    net = whet.lift(module, (torch.randn(2, 8, 8, 8),))
    assert [c.name for c in Svd(least=1000).space(net, TARGET)] == ["2:rank"]
    result = Svd(least=1000).apply(net, Decision({"2:rank": 0.5, "gone:rank": 0.5}), planning_run(net))
    assert "no layer of that name" in result.skipped["gone"] and "2" in result.texts


def test_bad_input() -> None:
    with pytest.raises(DecisionError, match="must lie in"):
        Svd((0.5,))
    net, run = linear(correlated(64, 128, 9), 96)
    bare = replace(run, task=replace(run.task, calibration=None, train=None))
    with pytest.raises(CalibrationError, match="neither calibration nor training"):
        Svd().apply(net, Decision({"0:rank": 0.5}), bare)
