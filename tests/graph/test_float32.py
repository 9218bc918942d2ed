"""Modules in wrappers, and in other precisions than float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.spec import check


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))  # type: ignore[no-any-return]


class Holding(nn.Module):
    """A network whose parts are wrapped."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = torch.compile(Small()), nn.DataParallel(nn.Linear(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))  # type: ignore[no-any-return]


WRAPPED = {
    "compiled": (lambda m: torch.compile(m), ["conv", "norm", "head"]),
    "parallel": (nn.DataParallel, ["conv", "norm", "head"]),
    "both": (lambda m: torch.compile(nn.DataParallel(m)), ["conv", "norm", "head"]),
    "averaged": (torch.optim.swa_utils.AveragedModel, ["conv", "norm", "head"]),
    "inside": (lambda m: Holding(), ["body.conv", "body.norm", "body.head", "last"]),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_wrappers_are_taken_off(how: str) -> None:
    wrap, names = WRAPPED[how]
    module = wrap(Small()).train()
    net = check(whet.lift(module, torch.randn(2, 3, 8, 8)))
    assert list(net.layers()) == names
    assert set(net.module.state_dict()) >= {f"{name}.weight" for name in names}
    assert module.training and [p.name for p in net.inputs] == ["x"]
    assert how == "inside" or any("taken out of" in note for note in net.notes)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("example", [True, False])
def test_other_precisions_become_float32(kind: torch.dtype, example: bool) -> None:
    module, x = Small().to(kind), torch.randn(2, 3, 8, 8)
    net = check(whet.lift(module, x.to(kind) if example else x))
    assert {t.dtype for t in net.module.parameters()} == {torch.float32} == {x.dtype for x in net.example}
    assert {p.dtype for p in module.parameters()} == {kind}, "the source is left alone"
    assert any(f"converted from {str(kind)[6:]} to float32" in note for note in net.notes)
    with torch.no_grad():
        torch.testing.assert_close(net(x).to(kind), module.eval()(x.to(kind)), rtol=0.05, atol=0.05)


class Casts(nn.Module):
    def __init__(self, how: str, kind: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.first, self.last, self.how = nn.Linear(4, 8).to(kind), nn.Linear(8, 2), how

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.to(self.first.weight.dtype))
        if self.how == "autocast":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.last(y)  # type: ignore[no-any-return]
        if self.how == "half":
            return self.last(y.half().float())  # type: ignore[no-any-return]
        if self.how == "to":
            y = y.to(torch.bfloat16) + torch.ones(8, dtype=torch.bfloat16)
            return self.last(y.to(torch.float32)).to(dtype=torch.bfloat16)  # type: ignore[no-any-return]
        return self.last(y.float())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "how, told", [("autocast", "autocast"), ("half", "float16"), ("to", "bfloat16"), ("mixed", "")]
)
def test_casts_within_are_left_out_and_told(how: str, told: str) -> None:
    module, x = Casts(how, torch.bfloat16 if how == "mixed" else torch.float32), torch.randn(2, 4)
    net = check(whet.lift(module, x))
    out: Any = net(x)
    assert out.dtype == torch.float32 and not any("16" in str(n.args) for n in net.graph.nodes)
    assert any(told in note for note in net.notes)
    with torch.no_grad():
        torch.testing.assert_close(out, module(x).float(), rtol=0.05, atol=0.05)


def test_an_ordinary_module_has_nothing_noted() -> None:
    assert whet.lift(Small(), torch.randn(2, 3, 8, 8)).notes == ()
