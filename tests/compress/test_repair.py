from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from architectures import OF_EACH_KIND, lifted
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.depth import Depth
from whet.compress.kernel import Kernel
from whet.compress.moments import inputs_of
from whet.compress.reference import Reference
from whet.compress.repair import Repair, best, output_error, parted, repaired
from whet.compress.solving import Solving
from whet.compress.width import Width
from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.run import Run
from whet.core.space import Decision
from whet.graph.axes import analyze
from whet.graph.cut import cut
from whet.testing.passes import fingerprint, same
from whet.testing.runs import AlignedTarget, planning_run


def reference(net: Net, batches: int = 3, rows: int = 64, seed: int = 0) -> Reference:
    """Return the reference of a net of one floating-point input on random data."""
    generator = torch.Generator().manual_seed(seed)
    data = [(torch.randn(rows, *net.example[0].shape[1:], generator=generator),) for _ in range(batches)]
    return Reference.of(net, data[1:], data[:1])


def relative_error(net: Net, other: Net, x: Tensor) -> float:
    with torch.no_grad():
        return float((net(x) - other(x)).norm() / net(x).norm())


class Steps(nn.Module):
    """A recurrent layer that reads redundant channels, and a head on its states."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.add_module("0", nn.Linear(3, 24))
        self.rnn, self.head = kind(24, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.rnn(self.get_submodule("0")(x))[0])
        return y


REDUNDANT: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(6, 24), nn.Linear(24, 3)), (6,)),
    "without bias": (lambda: nn.Sequential(nn.Linear(6, 24, bias=False), nn.Linear(24, 3, bias=False)), (6,)),
    "mean in the norm": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 24, 1), nn.Conv2d(24, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1)
        ),
        (2, 8, 8),
    ),
    "strided, dilated": (
        lambda: nn.Sequential(nn.Conv2d(2, 24, 1), nn.Conv2d(24, 4, 3, stride=2, dilation=2)),
        (2, 12, 12),
    ),
    "transposed": (lambda: nn.Sequential(nn.Conv2d(2, 24, 1), nn.ConvTranspose2d(24, 4, 2, 2)), (2, 6, 6)),
    "gru": (lambda: Steps(nn.GRU), (7, 3)),
    "lstm": (lambda: Steps(nn.LSTM), (7, 3)),
    "rnn": (lambda: Steps(nn.RNN), (7, 3)),
    "depthwise between": (
        lambda: nn.Sequential(nn.Conv1d(2, 24, 1), nn.BatchNorm1d(24), nn.Conv1d(24, 3, 1)),
        (2, 9),
    ),
}


@pytest.mark.parametrize("name", REDUNDANT)
def test_channels_that_others_can_make_up_for_are_cut_without_loss(name: str) -> None:
    torch.manual_seed(0)
    module, shape = REDUNDANT[name]
    net = whet.lift(module().eval(), torch.randn(2, *shape))
    smaller = cut(net, {"0": list(range(3, 11))})
    x = torch.randn(50, *shape)
    assert relative_error(net, smaller, x) > 0.3
    result = repaired(reference(net), smaller)
    assert relative_error(net, result.net, x) < 1e-5
    assert not result.skipped and result.changed


def halved(seed: int = 0, inputs: int = 24) -> tuple[Net, Net]:
    """Return a perceptron, and the same with half of its hidden neurons."""
    torch.manual_seed(seed)
    net = whet.lift(nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 5)), torch.randn(2, inputs))
    return net, cut(net, {"0": range(32)})


def test_fewer_samples_than_inputs_are_damped_and_said() -> None:
    net, smaller = halved(inputs=4)
    result = repaired(reference(net, rows=8), smaller)
    assert "16 rows for 32 inputs" in result.texts["2"] and "damped by" in result.texts["2"]
    x = torch.randn(500, 4)
    assert relative_error(net, result.net, x) < relative_error(net, smaller, x)


def test_one_sample_to_solve_on_and_one_to_judge_by() -> None:
    net, smaller = halved()
    found = reference(net, batches=2, rows=1)
    assert output_error(found, repaired(found, smaller).net) <= output_error(found, smaller)


def test_constant_inputs_leave_the_weight_and_move_the_bias() -> None:
    net, smaller = halved()
    x = torch.ones(64, 24)
    result = repaired(Reference.of(net, [(x,)], [(x[:4],)]), smaller)
    assert torch.equal(result.net.layer("2").weight, smaller.layer("2").weight)  # type: ignore[arg-type]
    assert relative_error(net, result.net, x) < 1e-6


def test_what_reads_nan_is_skipped_by_name() -> None:
    net, smaller = halved()
    x = torch.full((64, 24), torch.nan)
    result = repaired(Reference.of(net, [(x,)], [(x[:4],)]), smaller)
    assert (
        result.skipped["2"] == "what it reads holds NaN or infinity on the calibration inputs." and not result.changed
    )


def test_twice_the_same_channel_makes_a_singular_matrix_that_is_solved() -> None:
    net, _ = halved()
    with torch.no_grad():
        layer = net.layer("0")
        layer.weight[1::2], layer.bias[1::2] = layer.weight[::2], layer.bias[::2]  # type: ignore[index, operator]
    smaller = cut(net, {"0": [i for i in range(64) if i % 4 != 1]})
    assert relative_error(net, repaired(reference(net), smaller).net, torch.randn(50, 24)) < 1e-4


class Joined(nn.Module):
    """One layer that reads two groups, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.read = nn.Linear(4, 20), nn.Linear(4, 20), nn.Linear(40, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.read(torch.cat([self.left(x), self.right(x)], 1))
        return y


def test_a_reader_of_two_groups_is_solved_for_both() -> None:
    torch.manual_seed(0)
    net = whet.lift(Joined(), torch.randn(2, 4))
    smaller = cut(net, {"left": range(6), "right": range(8)})
    assert relative_error(net, repaired(reference(net), smaller).net, torch.randn(50, 4)) < 1e-5


class Tied(nn.Module):
    """Two calls of one layer that reads what was cut, and a reader behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.shared, self.last = (nn.Linear(*s) for s in ((4, 9), (4, 9), (9, 9), (9, 2)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.shared(self.first(x)).relu() + self.shared(self.second(x)))
        return y


def test_a_tied_reader_is_skipped_with_its_reason() -> None:
    torch.manual_seed(0)
    net = whet.lift(Tied(), torch.randn(2, 4))
    axes = analyze(net)
    smaller = cut(net, {s: range(g.size // 2) for s, g in axes.groups.items()}, axes)
    result = repaired(reference(net), smaller)
    assert "several places" in result.skipped["shared"] and set(result.texts) == {"last"}


def test_larger_layers_are_solved_by_blocks_of_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    net, smaller = halved()
    found, x = reference(net, rows=500), torch.randn(500, 24)
    whole = relative_error(net, repaired(found, smaller).net, x)
    monkeypatch.setattr("whet.compress.solving.LARGEST", 10)
    blocks = relative_error(net, repaired(found, smaller).net, x)
    assert whole < blocks < 0.9 * relative_error(net, smaller, x)


def late_cut() -> tuple[Net, Net, Reference]:
    """Return a network, the same with a stream and channels of its last stage cut, and the reference."""
    net = shared_net("resnet20")
    batches = inputs_of(planning_run(net).task, 16)
    axes = analyze(net)
    late = {s: range(g.size // 2) for s, g in axes.groups.items() if s.startswith("layer3")}
    return net, cut(net, late, axes), Reference.of(net, batches, batches[:1])


def test_what_stands_in_front_of_a_cut_is_remembered() -> None:
    _, smaller, found = late_cut()
    assert len(found.checkpoints) > 5
    work = Solving(found, smaller.copy(), (1e-2,))
    assert work.start is not None and len(work.steps.nodes) < 0.6 * len(list(smaller.graph.nodes))
    one = repaired(found, smaller)
    found.checkpoints.clear()
    assert same(fingerprint(one.net), fingerprint(repaired(found, smaller).net))
    assert Solving(found, smaller.copy(), (1e-2,)).start is None


def test_nothing_is_remembered_behind_other_weights() -> None:
    _, smaller, found = late_cut()
    with torch.no_grad():
        smaller.layer("conv1").weight[0, 0, 0, 0] += 1e-4  # type: ignore[index, operator]
    assert Solving(found, smaller, (1e-2,)).start is None


def test_a_cut_of_unknown_origin_is_solved_where_it_can_be() -> None:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(*(nn.Linear(a, b) for a, b in ((4, 20), (20, 20), (20, 3)))), torch.randn(2, 4))
    smaller = cut(net, {"0": range(8), "1": range(9)})
    smaller.module.meta.clear()
    result = repaired(reference(net), smaller)
    assert "not known which of its outputs" in result.skipped["1"] and "2" in result.texts
    assert relative_error(net, result.net, torch.randn(50, 4)) < 1e-5


def test_cuts_after_cuts_know_what_was_kept() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3)]
    net = whet.lift(nn.Sequential(*layers), torch.randn(2, 4))
    once = cut(net, {"0": range(5, 17), "2": range(15, 20)})
    in_two = cut(cut(net, {"0": range(3, 20), "2": range(11, 20)}), {"0": range(2, 14), "2": range(4, 9)})
    found = reference(net)
    assert same(fingerprint(repaired(found, once).net), fingerprint(repaired(found, in_two).net))


def test_a_dropped_block_is_made_up_for_by_what_writes_around_it() -> None:
    net = shared_net("resnet20")
    run = Run(planning_run(net).task, AlignedTarget(), teacher=net)  # type: ignore[arg-type]
    drop = Decision({"layer2.2:keep": False})
    bare = Depth().apply(net, drop, run).net
    result = Chain((Depth(), Repair(samples=32))).apply(net, drop, run)
    x = torch.randn(40, 3, 32, 32)
    assert relative_error(net, result.net, x) < 0.8 * relative_error(net, bare, x)
    assert {"layer2.1.conv2", "layer3.1.conv2", "fc"} <= set(result.texts) and "layer1.2.conv2" not in result.changed


def test_what_a_dropped_block_gave_in_the_mean_goes_into_the_layer_in_front() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.a(x)
            x = x + self.b(x.detach() * 0)  # a branch whose value is its bias
            y: Tensor = x + self.c(x).relu()
            return y

    torch.manual_seed(0)
    net = whet.lift(Residual(), torch.randn(2, 6))
    shorter = Depth().apply(net, Decision({"b:keep": False}), planning_run(net)).net
    x = torch.randn(40, 6)
    assert relative_error(net, shorter, x) > 0.05
    assert relative_error(net, repaired(reference(net), shorter).net, x) < 1e-5


def test_a_cropped_kernel_is_solved_as_well() -> None:
    net = shared_net("resnet20")
    run = Run(planning_run(net).task, AlignedTarget(), teacher=net)  # type: ignore[arg-type]
    crop = Decision({"layer2.1.conv2:kernel": 1})
    bare = Kernel().apply(net, crop, run).net
    result = Chain((Kernel(), Repair(samples=32))).apply(net, crop, run)
    x = torch.randn(20, 3, 32, 32)
    assert relative_error(net, result.net, x) < 0.9 * relative_error(net, bare, x)


def test_without_an_original_nothing_is_done_and_said() -> None:
    net, smaller = halved()
    result = Repair().apply(smaller, Decision(), planning_run(net))
    assert same(fingerprint(result.net), fingerprint(smaller)) and "no original" in result.skipped["network"]


def test_a_reference_is_collected_once_and_anew_when_weights_change() -> None:
    from whet.compress.repair import reference_of

    net, _ = halved()
    run = planning_run(net)
    first = reference_of(net, run, 16)
    assert reference_of(net, run, 16) is first and reference_of(net, run, 8) is not first
    again = reference_of(net, run, 16)
    with torch.no_grad():
        net.layer("0").weight.mul_(2)  # type: ignore[operator]
    assert reference_of(net, run, 16) is not again


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_the_error_never_exceeds_that_of_no_repair(name: str) -> None:
    net = lifted(name)[2].copy()
    run = planning_run(net)
    solved, held = parted(inputs_of(run.task, 16), 12)
    found = Reference.of(net, solved, held)
    axes = analyze(net)
    smaller = cut(net, {s: range(-(-g.size // 2)) for s, g in axes.groups.items()}, axes)
    before = fingerprint(smaller)
    work = Solving(found, smaller.copy(), Repair().dampings)
    work.run()
    assert work.errors or name == "lstm"
    for site, (after, without) in work.errors.items():
        assert after <= without * (1 + 1e-5) + 1e-7, site
    result = best(found, smaller, work)
    assert output_error(found, result.net) <= output_error(found, smaller)
    assert same(fingerprint(smaller), before)


@pytest.mark.parametrize("name", ["resnet20", "mobilenet", "encoder_post_norm", "unet"])
def test_conforms(name: str) -> None:
    net = shared_net(name)
    run = planning_run(net)
    run.teacher = net
    chain = Chain((Depth(tie="stage"), Width(tie="network", importance="weight_norm"), Repair(samples=16)))
    space = chain.space(net, run.target)
    smallest = Decision({c.name: c.values[0] for c in space})
    first, again = (chain.apply(net, smallest, run) for _ in range(2))
    assert same(fingerprint(first.net), fingerprint(again.net))
    assert same(fingerprint(chain.apply(net, Decision(), run).net), fingerprint(net))
    assert not chain.apply(net, Decision(), run).changed
