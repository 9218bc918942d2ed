"""Cross-layer equalization: the same outputs, equal ranges between layers, and what one grid for all gains by it."""

from __future__ import annotations

import pytest
import torch
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.quantize.data_free import expected
from whet.compress.quantize.equalization import equalized, pairs
from whet.compress.quantize.static import StaticQuantization
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.net import Net
from whet.core.space import Decision
from whet.graph.fold import fold_batch_norms
from whet.testing.passes import outputs
from whet.testing.runs import planning_run


def uneven() -> Net:
    """Return a depthwise block whose channels differ by factors of up to a hundred, and a head of linear layers."""
    torch.manual_seed(0)
    scales = torch.logspace(-1, 1, 8)
    first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
    norm = nn.BatchNorm2d(8)
    norm.running_mean, norm.running_var = torch.randn(8), torch.rand(8) + 0.5
    norm.weight.data, norm.bias.data = scales * (torch.rand(8) + 0.5), scales * torch.randn(8)
    second.weight.data /= scales.view(-1, 1, 1, 1)
    head = nn.AvgPool2d(2), nn.Conv2d(8, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(54, 5)
    module = nn.Sequential(first, norm, nn.ReLU(), second, nn.ReLU(), *head)
    return whet.lift(module.eval(), (torch.randn(2, 3, 6, 6),))


def ranges(net: Net) -> list[tuple[Tensor, Tensor]]:
    """Return, of each of the two pairs in front, the largest weight that makes and that reads each channel."""
    one, norm, two, three = (net.layer(n) for n in ("0", "1", "3", "6"))
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
    gain = norm.weight.abs() * torch.rsqrt(norm.running_var + norm.eps)
    w = [layer.get_parameter("weight").detach().abs() for layer in (one, two, three)]
    first = w[0].flatten(1).amax(1) * gain.detach(), w[1].flatten(1).amax(1)
    return [first, (w[1].flatten(1).amax(1), w[2].amax((0, 2, 3)))]


def test_outputs_stay_and_ranges_become_equal_in_a_chain() -> None:
    net = uneven()
    assert [(p.first.site, p.norm, p.second.site) for p in pairs(net)] == [("0", "1", "3"), ("3", "", "6")]
    made, scaled = equalized(net)
    for (a,), (b,) in ((outputs(net, x), outputs(made, x)) for x in torch.randn(3, 4, 3, 6, 6)):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    for makes, reads in ranges(net):
        assert float((makes / reads).log().abs().max()) > 1
    for makes, reads in ranges(made):
        assert torch.allclose(makes, reads, rtol=0.01)
    assert scaled == {"0": 8, "3": 8} and not equalized(made)[1]["0"]


@pytest.mark.parametrize("kind", ["mobilenet", "encoder"])
def test_networks_compute_the_same(kind: str) -> None:
    net = shared_net(kind)
    made, _ = equalized(net)
    for a, b in zip(outputs(net), outputs(made), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(a.abs().max()))


def test_what_norms_tell_of_inputs_is_scaled_too() -> None:
    """Where x becomes x / f its mean does: so biases are corrected by the truth."""
    net = uneven()
    made, _ = equalized(net)
    before, after = expected(net), expected(made)
    source = next(p for p in pairs(net)).second.source
    norms = [n.layer("1").get_parameter("bias").detach() for n in (net, made)]
    assert torch.allclose(after[source] / before[source], (norms[1] / norms[0]).double(), rtol=1e-4)


def with_one_step_a_layer(net: Net) -> Net:
    """Return a copy whose weights are on grids of eight bits with one step for all channels of a layer."""
    small = fold_batch_norms(net)
    for layer in small.layers().values():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            step = layer.weight.detach().abs().max() / 127
            layer.weight.data = torch.round(layer.weight.detach() / step) * step
    return small


def test_grids_that_channels_share_gain() -> None:
    """The paper's case, one step for all channels of a layer, and activations in int8, whose channels always share."""
    net, x = uneven(), torch.randn(64, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    run, whole = planning_run(net), Decision({"network:int8": "all"})
    (wanted,) = outputs(net, x)

    def error(small: Net) -> float:
        return float((outputs(small, x)[0] - wanted).square().mean())

    assert error(with_one_step_a_layer(equalized(net)[0])) < 0.2 * error(with_one_step_a_layer(net))
    plain, even = (StaticQuantization(equalized=e).apply(net, whole, run) for e in (False, True))
    assert error(even.net) < 0.9 * error(plain.net) and even.texts.keys() == plain.texts.keys()


def test_weight_only_rounds_the_equalized_network() -> None:
    net = uneven()
    run, decision = planning_run(net), Decision({NETWORK: "int4"})
    found = WeightOnly(rounding="nearest", equalized=True).apply(net, decision, run)
    wanted = WeightOnly(rounding="nearest").apply(equalized(net)[0], decision, run)
    assert torch.equal(outputs(found.net)[0], outputs(wanted.net)[0]) and found.texts == wanted.texts
