from __future__ import annotations

import numpy as np
import pytest
import torch
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.importance import Importance, batch_norm_scale, calibration, loss_change, taylor, weight_norm
from whet.core.net import Net
from whet.core.run import Run
from whet.data.bind import bind
from whet.graph.axes import analyze
from whet.graph.cut import cut
from whet.testing.networks import make
from whet.testing.runs import planning_run


def perceptron(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)]
    return whet.lift(nn.Sequential(*layers), torch.randn(2, 6))


def as_double(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def mean_loss(net: Net, run: Run, samples: int) -> float:
    parts = [(run.task.loss(net(*x), y).item() * len(y), len(y)) for x, y in calibration(run.task, samples)]
    return sum(p for p, _ in parts) / sum(n for _, n in parts)


def test_weight_norm_is_the_product_of_what_writes_and_what_reads() -> None:
    net = perceptron()
    write, read = net.layer("0").weight.detach(), net.layer("2").weight.detach()
    expected = (write.norm(dim=1) / (write**2).sum(1).mean() ** 0.5) * (  # type: ignore[operator, call-arg]
        read.norm(dim=0) / (read**2).sum(0).mean() ** 0.5  # type: ignore[operator, call-arg]
    )
    groups = list(analyze(net).groups.values())
    np.testing.assert_allclose(weight_norm(net, groups, planning_run(net), 0)["0"], expected, rtol=1e-5)


def test_weight_norm_order_survives_rescaling_behind_relu() -> None:
    net = perceptron()
    groups = list(analyze(net).groups.values())
    before = weight_norm(net, groups, planning_run(net), 0)["0"]
    scaled = net.copy()
    factors = torch.logspace(-1, 1, 12)
    with torch.no_grad():
        scaled.layer("0").weight.mul_(factors[:, None])  # type: ignore[operator]
        scaled.layer("0").bias.mul_(factors)  # type: ignore[operator]
        scaled.layer("2").weight.div_(factors)  # type: ignore[operator]
    torch.testing.assert_close(scaled(*net.example), net(*net.example))
    after = weight_norm(scaled, groups, planning_run(net), 0)["0"]
    assert np.array_equal(np.argsort(before), np.argsort(after))
    np.testing.assert_allclose(after / after.mean(), before / before.mean(), rtol=1e-5)


def test_unread_and_unwritten_atoms_score_zero() -> None:
    net = perceptron()
    with torch.no_grad():
        net.layer("0").weight[3] = 0  # type: ignore[index, operator]
        net.layer("2").weight[:, 7] = 0  # type: ignore[index, operator]
    scores = weight_norm(net, list(analyze(net).groups.values()), planning_run(net), 0)["0"]
    assert set(np.flatnonzero(scores == 0)) == {3, 7}


def test_batch_norm_scale_orders_by_gamma() -> None:
    net = shared_net("resnet20")
    groups = [analyze(net).groups["layer2.1.conv1"]]
    scores = batch_norm_scale(net, groups, planning_run(net), 0)["layer2.1.conv1"]
    gamma = net.layer("layer2.1.bn1").weight.detach().abs()  # type: ignore[operator]
    np.testing.assert_allclose(scores, gamma / gamma.mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "name, site", [("resnet20", "layer2.1.conv1"), ("encoder", "layers.1.up"), ("encoder", "tokens")]
)
def test_loss_change_is_the_derivative_of_scaling_the_atom(name: str, site: str) -> None:
    module, example = make(name)
    net = whet.lift(module, example)
    net.module.double()
    net.example = tuple(map(as_double, net.example))
    run = planning_run(net)
    run.task.train[:] = [(tuple(map(as_double, x)), y) for x, y in run.task.train]  # type: ignore[index]
    group, step = analyze(net).groups[site], 1e-6
    predicted = loss_change(net, [group], run, 20)[site]
    assert np.array_equal(taylor(net, [group], run, 20)[site], np.abs(predicted))

    def scaled_loss(atom: int, scale: float) -> float:
        copy = net.copy()
        with torch.no_grad():
            for member in group.members:
                weight = copy.module.get_parameter(member.parameter)
                reads = weight.ndim > 1 and member.dim == 1 and not member.parameter.startswith(("tokens", "position"))
                if reads:
                    index = torch.from_numpy(np.flatnonzero(member.atom == atom))
                    weight.index_copy_(1, index, weight.index_select(1, index) * scale)
            return mean_loss(copy, run, 20)

    for atom in range(0, group.size, max(1, group.size // 5)):
        slope = (scaled_loss(atom, 1 - step) - scaled_loss(atom, 1 + step)) / (2 * step)
        assert slope == pytest.approx(predicted[atom], rel=1e-4, abs=1e-9)


def test_taylor_ranks_by_the_loss_that_removal_costs_better_than_norms() -> None:
    agreement: dict[str, list[float]] = {"taylor": [], "weight_norm": []}
    for seed in range(6):
        net = perceptron(seed)
        run = planning_run(net, seed=seed)
        axes = analyze(net)
        whole = mean_loss(net, run, 32)
        cost = [
            abs(mean_loss(cut(net, {"0": [i for i in range(12) if i != a]}, axes), run, 32) - whole) for a in range(12)
        ]
        for name, score in (("taylor", taylor), ("weight_norm", weight_norm)):
            ranks = [np.argsort(np.argsort(v)) for v in (score(net, [axes.groups["0"]], run, 32)["0"], cost)]
            agreement[name].append(float(np.corrcoef(*ranks)[0, 1]))
    assert np.mean(agreement["taylor"]) > 0.6
    assert np.mean(agreement["taylor"]) > np.mean(agreement["weight_norm"])


class Functional(nn.Module):
    """The same two layers three ways: as modules, as `linear` of parameters, as products with (in, out) matrices."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        torch.manual_seed(0)
        one, two = nn.Linear(6, 12), nn.Linear(12, 3)
        if kind == "modules":
            self.one, self.two = one, two
        else:
            turn = (lambda w: w.T.contiguous()) if kind == "addmm" else (lambda w: w)
            self.w1, self.b1 = nn.Parameter(turn(one.weight.data)), nn.Parameter(one.bias.data)
            self.w2, self.b2 = nn.Parameter(turn(two.weight.data)), nn.Parameter(two.bias.data)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "modules":
            return self.two(torch.relu(self.one(x)))
        if self.kind == "linear":
            return nn.functional.linear(torch.relu(nn.functional.linear(x, self.w1, self.b1)), self.w2, self.b2)
        return torch.addmm(self.b2, torch.relu(torch.addmm(self.b1, x, self.w1)), self.w2)


@pytest.mark.parametrize("score", [weight_norm, loss_change])
def test_scores_do_not_depend_on_how_a_layer_is_written(score: Importance) -> None:
    results = []
    for kind in ("modules", "linear", "addmm"):
        net = whet.lift(Functional(kind), torch.ones(2, 6))
        (group,) = analyze(net).groups.values()
        results.append(score(net, [group], planning_run(net), 16)[group.site])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", ["logits", "embedding", "regression"])
def test_without_labels_atoms_that_do_nothing_score_zero_and_others_do_not(kind: str) -> None:
    net = perceptron()
    with torch.no_grad():
        net.layer("2").weight[:, :4] = 0  # type: ignore[operator, index]
    x = torch.randn(32, 6)
    run = planning_run(net)
    run.task = bind(whet.Task("unlabelled", [x], [x], kinds=kind), net)  # type: ignore[arg-type]
    scores = taylor(net, list(analyze(net).groups.values()), run, 20)["0"]
    assert (scores[:4] == 0).all() and (scores[4:] > 0).sum() >= 6
