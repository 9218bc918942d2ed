"""Relevance: the rule by hand, that every layer has as much of it as the output, and what it says of atoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.relevance import relevance, relevances, told
from whet.compress.width import Width
from whet.core.kinds import Kind
from whet.core.net import Net
from whet.core.task import Task
from whet.data.bind import Original
from whet.graph.axes import analyze
from whet.graph.fold import fold_batch_norms
from whet.testing.runs import planning_run


class Branches(nn.Module):
    """A block with a shortcut, a product of two branches, and a pooling behind."""

    def __init__(self, product: bool = False) -> None:
        super().__init__()
        self.enter, self.one, self.two = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.head, self.product = nn.Linear(8, 3), product

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x).relu()
        one, two = self.one(x).relu(), self.two(x).sigmoid()
        return self.head(one * two if self.product else one + x)  # type: ignore[no-any-return]


def lifted(module: nn.Module, *shape: int) -> Net:
    """Return a net whose norms hold statistics and weights of their own."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean), nn.init.uniform_(layer.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    return fold_batch_norms(whet.lift(module.eval(), (torch.randn(4, *shape),)))


def sums(net: Net, labels: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
    """Return by layer the relevance of each of four samples, and the outputs that it begins at."""
    (x,), chosen = net.example, torch.tensor([0, 2, 1, 1])
    found = relevances(net, (x,), chosen)
    return {name: r.flatten(1).sum(1) for name, r in found.items()}, net(x).detach().gather(1, chosen[:, None])[:, 0]


def test_the_rule_is_that_of_positive_parts() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).eval(), (torch.randn(2, 2),))
    first, second = net.layer("0"), net.layer("2")
    with torch.no_grad():
        for layer, rows, bias in (
            (first, [[1.0, 2.0], [3.0, -1.0], [-1.0, -1.0]], [0.5, 0.0, 0.0]),
            (second, [[2.0, -1.0, 4.0], [1.0, 1.0, 1.0]], [1.0, -1.0]),
        ):
            layer.get_parameter("weight").copy_(torch.tensor(rows))
            layer.get_parameter("bias").copy_(torch.tensor(bias))
    x = torch.tensor([[1.0, -0.5], [1.0, -0.5]])
    # hidden: 1 - 1 + .5 = .5, 3 + .5 = 3.5, -1 + .5 to 0; class 0: 1 - 3.5 + 1 = -1.5, class 1: .5 + 3.5 - 1 = 3
    below, above = relevances(net, (x,), torch.tensor([0, 1])).values()
    one, two = 3 * 0.5 / 4, 3 * 3.5 / 4
    torch.testing.assert_close(above, torch.tensor([[-1.5, 0.0, 0.0], [one, two, 0.0]]))
    # x_1 gives 1 to the first and 3 to the second, x_2 gives -1 and .5
    torch.testing.assert_close(below[1], torch.tensor([one + two * 3 / 3.5, two * 0.5 / 3.5]))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2)])
def test_every_layer_has_as_much_as_the_labelled_output(pool: nn.Module) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), pool, nn.Conv2d(6, 8, 3, groups=2),
              nn.LeakyReLU(), nn.Flatten(), nn.Linear(32, 16), nn.GELU(), nn.Linear(16, 3)]  # fmt: skip
    found, top = sums(lifted(nn.Sequential(*layers), 3, 8, 8))
    assert len(found) >= 4 and float(top.abs().min()) > 1e-3
    for name, share in found.items():
        torch.testing.assert_close(share, top, rtol=1e-3, atol=1e-4, msg=name)


def test_sums_share_it_out_and_products_have_half_each() -> None:
    torch.manual_seed(1)
    (found, top) = sums(lifted(Branches(), 5))
    torch.testing.assert_close(found["head"], top)
    torch.testing.assert_close(found["enter"], top)
    assert float((found["one"] - top).abs().min()) > 1e-3, "the shortcut has a share"
    (found, top) = sums(lifted(Branches(product=True), 5))
    torch.testing.assert_close(found["one"], top / 2), torch.testing.assert_close(found["two"], top / 2)
    torch.testing.assert_close(found["enter"], top)


@pytest.mark.parametrize("norm", [nn.LayerNorm(8, bias=False), nn.RMSNorm(8), nn.GroupNorm(2, 8, affine=False)])
def test_norms_and_attention_hand_it_on(norm: nn.Module) -> None:
    torch.manual_seed(0)
    net = lifted(nn.Sequential(nn.Linear(40, 8, bias=False), norm, nn.Linear(8, 3)), 40)
    found, top = sums(net)
    assert len(found) == 2
    for share in found.values():
        torch.testing.assert_close(share, top, rtol=1e-3, atol=1e-4)
    encoder = shared_net("encoder")
    read = {name: float(r.sum()) for name, r in relevances(encoder, encoder.example, torch.tensor([0, 1])).items()}
    for block in range(3):
        out, value = read[f"layers_{block}_attention_out"], read[f"layers_{block}_attention_value"]
        assert out == pytest.approx(value, rel=1e-3, abs=1e-5) and abs(out) > 1e-4
        assert f"layers_{block}_attention_query" not in read


def test_what_speaks_for_no_labelled_class_is_worth_nothing() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    net = whet.lift(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(2, 6))
    with torch.no_grad():
        net.layer("2").get_parameter("weight")[:2].abs_().add_(0.1)
        net.layer("2").get_parameter("weight")[:2, 3] = -5.0  # neuron 3 speaks for the last class alone
        net.layer("2").get_parameter("weight")[2, 3] = 9.0
    data = [(torch.randn(16, 6, generator=generator), torch.arange(16) % 2) for _ in range(2)]
    run = replace(planning_run(net), task=Task("two classes", None, data, calibration=data))
    groups = list(analyze(net).groups.values())
    scores = relevance(net, groups, run, 32)["0"]
    assert scores[3] == 0 and (np.delete(scores, 3) > 0).all()
    by_hand = sum(list(relevances(net, (x,), y).values())[1].abs().sum(0) for x, y in data)
    np.testing.assert_allclose(scores, by_hand.numpy(), rtol=1e-5)  # type: ignore[union-attr]
    other = [(x, torch.full((16,), 2)) for x, _ in data]
    assert relevance(net, groups, replace(run, task=replace(run.task, calibration=other)), 32)["0"][3] > 0
    width = Width((0.5, 1.0), importance="relevance")
    assert width.apply(net, width.obvious(net, planning_run(net, 1).target)[0], run).changed


def test_batch_norms_are_part_of_the_layers_before_them() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)]
    net = whet.lift(nn.Sequential(*layers).eval(), (torch.randn(2, 6),))
    with torch.no_grad():
        net.layer("3").get_parameter("weight").copy_(torch.tensor([1.0, -1.0] * 4))
        net.layer("3").get_parameter("bias").normal_()
    folded = fold_batch_norms(net)
    own, wanted = (relevance(n, list(analyze(n).groups.values()), planning_run(net), 16) for n in (net, folded))
    assert set(own) == {"0", "2"} == set(wanted)
    for site, scores in wanted.items():
        np.testing.assert_allclose(own[site], scores, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet20", "mobilenet", "vision_transformer", "detector", "unet"])
def test_sites_that_are_read_have_scores_and_outputs_are_the_nets_own(name: str) -> None:
    net = shared_net(name)
    run, groups = planning_run(net), list(analyze(net).groups.values())
    found = relevance(net, groups, run, 8)
    assert {g.site for g in groups} - set(found) <= {g.site for g in groups if g.kind == "head_dim"}
    assert all(len(found[g.site]) == g.size and np.isfinite(found[g.site]).all() for g in groups if g.site in found)


def test_where_it_begins() -> None:
    maps = torch.arange(24.0).view(2, 3, 2, 2)
    labels = torch.tensor([[[0, 1], [2, -1]], [[0, 0], [0, 0]]])
    assert told(maps, labels).item() == 0 + 5 + 10 + 12 + 13 + 14 + 15
    assert told(maps, maps).item() == maps.sum()
    own = Original(maps)
    assert told(maps, own, (Kind("logits", 1),)).item() == maps[:, 2].sum()
    assert told(maps, own, (Kind("regression"),)).item() == maps.sum()
