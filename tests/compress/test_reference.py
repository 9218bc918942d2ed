"""A reference remembers what layers of the original gave, within its memory, and where a cut may begin."""

from __future__ import annotations

import torch
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.lockstep import Checkpoint
from whet.compress.moments import chosen_rows, inputs_of
from whet.compress.reference import Reference, norm_behind, written_sum
from whet.compress.repair import repaired
from whet.core.net import Net
from whet.graph.cut import cut
from whet.testing.runs import planning_run


class Residual(nn.Module):
    """A branch that is added, normed, to what it reads; `twice` reads it once more."""

    def __init__(self, twice: bool) -> None:
        super().__init__()
        self.twice = twice
        self.inner, self.outer, self.norm, self.head = (
            nn.Linear(4, 9), nn.Linear(9, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm(self.outer(self.inner(x).relu()))
        y: Tensor = self.head(x + branch)
        return y + branch[:, :2] if self.twice else y


def residual(twice: bool = False) -> Net:
    torch.manual_seed(0)
    return whet.lift(Residual(twice).eval(), torch.randn(2, 4))


def halved(inputs: int = 24) -> tuple[Net, Net]:
    """Return a perceptron, and the same with half of its hidden neurons."""
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 5)), torch.randn(2, inputs))
    return net, cut(net, {"0": range(32)})


def test_rows_and_answers_are_what_the_original_gives() -> None:
    net = residual()
    data = [(torch.randn(30, 4),) for _ in range(3)]
    found = Reference.of(net, data[1:], data[:1])
    module = net.module
    for i, (x,) in enumerate(data[1:]):
        rows = chosen_rows(i, (30,), found.quota(found.readers["outer"]))
        with torch.no_grad():
            hidden = module.get_submodule("inner")(x)
            torch.testing.assert_close(found.rows["inner"][i], hidden[rows])
            outer = module.get_submodule("outer")(hidden.relu())
            summed = x + module.get_submodule("norm")(outer)
        torch.testing.assert_close(found.rows["outer"][i], outer[rows])
        total = written_sum(net, next(n for n in net.graph.nodes if str(n.target) == "outer"))
        assert total is not None
        torch.testing.assert_close(found.rows[total.total.name][i], summed[rows])
    with torch.no_grad():
        torch.testing.assert_close(found.answers[0][0], net(*data[0]))
    assert not found.note and found.positions["inner"] == [(30,), (30,)]


def test_the_sum_behind_a_norm_is_found_and_only_where_nothing_else_reads_it() -> None:
    net = residual()
    nodes = {str(n.target): n for n in net.graph.nodes}
    total = written_sum(net, nodes["outer"])
    assert total is not None and total.norm is nodes["norm"] is norm_behind(net, nodes["outer"])
    assert total.other.op == "placeholder"
    read_twice = residual(twice=True)
    assert written_sum(read_twice, next(n for n in read_twice.graph.nodes if str(n.target) == "outer")) is None
    assert written_sum(net, nodes["inner"]) is None and norm_behind(net, nodes["inner"]) is None


def test_a_cut_begins_at_the_last_checkpoint_in_front_of_it() -> None:
    net, data = residual(), [(torch.randn(30, 4),) for _ in range(3)]
    found = Reference.of(net, data[1:], data[:1])
    assert found.checkpoints
    same = found.start(net.copy(), ())
    assert same is not None and same[0].node == found.checkpoints[-1][0].node
    assert found.start(cut(net, {"inner": range(4)}), ()) is None
    changing = [n.name for n in net.graph.nodes if n.op != "placeholder"][:1]
    assert found.start(net.copy(), changing) is None


def test_memory_is_kept_by_fewer_rows() -> None:
    net, smaller = halved()
    x = [(torch.randn(1000, 24),) for _ in range(3)]
    whole, small = (Reference.of(net, x[1:], x[:1], memory=m) for m in (2**29, 20_000))
    bytes_of = [sum(t.numel() * 4 for rows in r.rows.values() for t in rows) for r in (whole, small)]
    assert bytes_of[1] <= 20_000 * 1.05 < bytes_of[0]
    assert repaired(small, smaller).changed


def test_memory_is_kept_by_fewer_samples_and_that_is_said() -> None:
    net, smaller = halved()
    x = [(torch.randn(300, 24),) for _ in range(3)]
    found = Reference.of(net, x[1:], x[:1], memory=400 * 4 * 128)  # 400 samples in front of the ReLU and behind
    assert [len(batch) for (batch,) in found.batches] == [300, 100]
    result = repaired(found, smaller)
    assert result.skipped["calibration"].startswith("400 of 600 samples") and "2" in result.texts


def test_checkpoints_fit_into_memory() -> None:
    net = shared_net("resnet20")
    batches = inputs_of(planning_run(net).task, 16)
    whole, small = (Reference.of(net, batches, batches[:1], m).checkpoints for m in (2**29, 2**22))

    def size(found: list[tuple[Checkpoint, Checkpoint]]) -> int:
        values = [v for pair in found for part in pair for known in part.values for v in known.values()]
        return sum(v.numel() * 4 for v in values)

    assert 0 < size(small) <= 2**21 < size(whole)
