"""What anyone would try comes first, and no search ends behind it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import whet
from whet.compress.depth import Depth
from whet.compress.width import Width
from whet.core.space import Choice, Decision, Space
from whet.hardware import targets
from whet.schedule.obvious import extends, in_words, obvious, untried

TARGET = targets.get("cpu")


class Blocks(nn.Module):
    """Four residual blocks, whose stream is eight wide and whose insides are sixteen."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)) for _ in range(4))
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return torch.as_tensor(self.last(x))


def blocks() -> whet.Net:
    torch.manual_seed(0)
    return whet.lift(Blocks().eval(), torch.randn(2, 6), name="blocks")


def test_all_widths_come_together_without_residual_streams_first() -> None:
    net, width = blocks(), Width()
    found = width.obvious(net, TARGET)
    inner = Width(streams=False).space(net, TARGET)
    assert [set(d.values()) for d in found] == [{0.75}, {0.5}, {0.25}] * 2
    assert all(set(d) == set(inner.choices) for d in found[:3])
    assert all(set(d) == set(width.space(net, TARGET).choices) for d in found[3:])
    assert len(found[3]) > len(found[0])


def test_every_fourth_block_comes_before_every_second() -> None:
    fourth, second = Depth().obvious(blocks(), TARGET)
    assert len(fourth) == 1 and len(second) == 2 and fourth.items() <= second.items()
    [three, two] = [next(iter(d.values())) for d in Depth(tie="network").obvious(blocks(), TARGET)]
    assert (three, two) == (3, 2)


def test_pairs_stand_behind_the_singles_of_their_rank_and_every_decision_is_legal() -> None:
    net, passes = blocks(), (Depth(), Width())
    space = Space([c for p in passes for c in p.space(net, TARGET)])
    found = obvious(passes, net, TARGET)
    for decision in found:
        space.check(decision)
    singles = [p.obvious(net, TARGET) for p in passes]
    assert found[:3] == [singles[0][0], singles[1][0], singles[0][0].merge(singles[1][0])]
    assert len(found) == len(set(found)) == 2 + 6 + 12


def test_what_cuts_more_than_a_broken_one_is_not_tried() -> None:
    space = Space([Choice("a:width", (0.25, 0.5, 1.0), 1.0), Choice("b:keep", (True, False), True)])
    half, quarter = Decision({"a:width": 0.5}), Decision({"a:width": 0.25})
    both = half.merge({"b:keep": False})
    assert extends(space, quarter, half) and extends(space, both, half) and not extends(space, half, both)
    dropped = Decision({"b:keep": False})
    assert untried(space, [half, quarter, dropped, both], tried=[half], broken=[half]) == [dropped]


def test_words_for_a_decision_gather_equal_cuts() -> None:
    decision = Decision({"a:keep": False, "b:keep": False, "c:width": 0.5})
    assert in_words(decision) == "keep False at 2 sites, width 0.5"
