"""Residual expansion: the bound on what terms leave, sums that compute it, and channels that have more terms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shared_nets import shared_net
from torch import nn

import whet
from whet.compress.quantize.expansion import NETWORK, Expansion, on_widest, stored
from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.core.passes import Result
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.graph.grids import Grid
from whet.hardware import targets
from whet.testing.passes import check, outputs
from whet.testing.runs import AlignedTarget, planning_run


def small_net() -> Net:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5)
    return whet.lift(nn.Sequential(*layers).eval(), (torch.randn(2, 3, 6, 6),))


def made(net: Net, form: str, share: float = 1.0) -> Result:
    return Expansion(share).apply(net, Decision({NETWORK: form}), planning_run(net))


def weight_of(net: Net, site: str) -> torch.Tensor:
    """Return the sum of the terms of a linear layer by what it gives for each unit vector."""
    layer = net.layer(site)
    eye, parts = torch.eye(layer.get_parameter("weight").shape[1]), [layer]
    parts += [m for n, m in net.layers().items() if n.startswith(f"{site}_term")]
    rows = [p(eye).detach() - (p.bias.detach() if p.bias is not None else 0.0) for p in parts]
    return sum(rows).T  # type: ignore[union-attr, no-any-return]


@pytest.mark.parametrize(
    "form, bits, terms", [("int4 x 2", 4, 2), ("int3 x 2", 3, 2), ("int2 x 3", 2, 3), ("int2 x 2", 2, 2)]
)
def test_each_term_divides_the_bound_by_twice_the_largest_integer(form: str, bits: int, terms: int) -> None:
    """|W - sum Q_k| <= max|W| / (2 most)^K for every weight of a channel, and the bound is nearly reached."""
    net = small_net()
    weight, most = net.layer("4").get_parameter("weight").detach(), Grid(bits).most
    lost = (weight - weight_of(made(net, form).net, "4")).abs() / weight.abs().amax(1, keepdim=True)
    assert 0.8 / (2 * most) ** terms < lost.max() <= (1 + 1e-3) / (2 * most) ** terms


def test_nothing_is_clipped_and_the_largest_weight_is_exact() -> None:
    torch.manual_seed(1)
    layer = nn.Linear(40, 6)
    layer.weight.data[0, 0] = 9.0
    weight = layer.weight.detach().clone()
    found = stored(on_widest(layer, Grid(3)))
    assert (
        found[0, 0] == pytest.approx(9.0) and ((found - weight).abs() <= weight.abs().amax(1, True) / 6 * 1.0001).all()
    )


def test_a_share_of_the_channels_has_more_terms() -> None:
    """Those that err most: the others compute as with one term, to the bit."""
    net, x = small_net(), torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    result = made(net, "int2 x 2", share=0.4)
    assert result.texts["4"] == "a sum of 2 in int2, of 5, 2 channels" and len(result.net.layer("4_term2").weight) == 2
    weight = net.layer("4").get_parameter("weight").detach()
    one = stored(on_widest(whet.lift(nn.Sequential(net.copy().layer("4")), (torch.randn(2, 72),)).layer("0"), Grid(2)))
    worst = (weight - one).square().sum(1).argsort(descending=True)[:2]
    flat = next(n for n in result.net.graph.nodes if "term2" in str(n.target)).args[0]
    assert flat is not None
    places = result.net.module.get_buffer("4_term2_places")
    assert sorted(worst.tolist()) == (places < 2).nonzero().flatten().tolist()
    errors = [
        float((outputs(made(net, "int2 x 2", s).net, x)[0] - outputs(net, x)[0]).square().mean())
        for s in (0.2, 0.6, 1.0)
    ]
    assert errors == sorted(errors, reverse=True) and errors[2] < 0.5 * errors[0]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_conforms_and_files_compute_the_same(share: float, tmp_path: Path) -> None:
    net = small_net()
    check(Expansion(share), net, AlignedTarget(), planning_run(net), count=1)  # type: ignore[arg-type]
    result, target = made(net, "int4 x 2", share), targets.get("onnxruntime-cpu")
    path = target.save(result.net.eval(), tmp_path)
    given = torch.randn(2, 3, 6, 6)
    found = target.open(Artifact(path, target.all_settings()[0]), 2)(given.numpy())
    assert torch.allclose(torch.tensor(found), outputs(result.net, given)[0], atol=1e-4)


def test_what_is_no_sum_is_skipped_with_its_reason() -> None:
    net = shared_net("mobilenet")
    result = made(net, "int4 x 2")
    depthwise = [n for n, m in net.layers().items() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert depthwise and all("in groups" in result.skipped[n] for n in depthwise)
    again = made(result.net, "int4 x 2")
    assert "already" in next(iter(again.skipped.values())) and "no layer is left" in again.skipped["network"]
    with pytest.raises(ValueRangeError, match=r"above 0 and at most 1; got 0\.0"):
        Expansion(share=0.0)
