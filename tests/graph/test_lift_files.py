"""Files of torch.export: every structure, layout and precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.errors import LiftError
from whet.core.spec import check

OPEN = torch.export.Dim.DYNAMIC


def saved(path: Path, module: nn.Module, args: tuple[Any, ...], shapes: Any = None, **kwargs: Any) -> Path:
    program = torch.export.export(module.eval(), args, kwargs, dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


class Steps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(4, 5), nn.Linear(4, 3)

    def forward(self, x: Tensor, state: Tensor) -> dict[str, Tensor]:
        y, state = self.layer(x, state)
        return {"y": y, "state": state, "frames": self.head(x)}


def test_keywords_layouts_and_structures_of_a_file(tmp_path: Path) -> None:
    module, x, state = Steps(), torch.randn(6, 2, 4), torch.randn(1, 2, 5)
    path = saved(tmp_path / "net.pt2", module, (x,), {"x": {1: OPEN}, "state": {1: OPEN}}, state=state)
    net = check(whet.lift(path, batch_axis=1))
    assert [p.name for p in net.inputs] == ["x", "state"] and [p.name for p in net.outputs] == ["y", "state", "frames"]
    with torch.no_grad():
        expected, found = module(x, state), net(x.movedim(1, 0), state.movedim(1, 0))
    assert list(found) == list(expected)
    for port, wanted in zip(net.outputs, expected.values(), strict=True):
        torch.testing.assert_close(port.outside(found[port.name]), wanted)
    with pytest.raises(LiftError, match="give batch_axis=1"):
        whet.lift(path)


class Views(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.layer = size, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layer(x)
        return (y.view(x.shape[0], 3, 1) if self.size else y), y.argmax(-1)


def test_a_file_for_one_batch_is_freed_where_it_can_be(tmp_path: Path) -> None:
    x = torch.randn(2, 4)
    net = check(whet.lift(saved(tmp_path / "free.pt2", Views(0), (x,))))
    assert net(torch.randn(5, 4))[1].shape == (5,)
    with pytest.raises(LiftError, match="exported for a batch of 2 alone; export it with a free batch"):
        whet.lift(saved(tmp_path / "fixed.pt2", Views(1), (x,)))


def test_a_file_in_half_precision(tmp_path: Path) -> None:
    x = torch.randn(2, 4).bfloat16()
    net = check(whet.lift(saved(tmp_path / "net.pt2", Views(0).bfloat16(), (x,), ({0: OPEN},))))
    assert net.notes == ("converted from bfloat16 to float32",) and set(net.layers()) == {"layer"}
    assert net(*net.example)[0].dtype == torch.float32


def test_open_lengths_of_a_file_stay_open(tmp_path: Path) -> None:
    x = torch.randn(2, 6, 4)
    net = check(whet.lift(saved(tmp_path / "net.pt2", Views(0), (x,), ({0: OPEN, 1: OPEN},))))
    assert [p.free for p in net.inputs] == [((1, "x_1"),)]
    assert [p.free for p in net.outputs] == [((1, "x_1"),), ((1, "x_1"),)]
    assert net(torch.randn(3, 9, 4))[0].shape == (3, 9, 3)
