"""A peer's module becomes a file that computes the same, frozen where that is so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from whet.bench.peers import inductor
from whet.bench.peers.work import Work
from whet.core.errors import WhetError

EXAMPLE = (torch.ones(2, 4),)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work("digits", "digits_cnn", "", str(tmp_path), seconds=20.0, max_drop=0.01, threads=1)


def wrong(only_frozen: bool, monkeypatch: pytest.MonkeyPatch, module: nn.Module) -> list[bool]:
    """Let files compute something else than the module, all or only the frozen ones; return what was compiled."""
    tried: list[bool] = []

    def compiling(program: object, package_path: str, inductor_configs: dict[str, bool]) -> None:
        tried.append(inductor_configs["freezing"])

    def loading(path: str) -> nn.Module:
        return module if only_frozen and not tried[-1] else nn.Sequential(module, nn.ReLU())

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compiling)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", loading)
    return tried


class Minus(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x


def test_a_frozen_file_that_computes_something_else_is_not_handed_in(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = wrong(True, monkeypatch, Minus())
    path, note = inductor.compiled(work, "int8", Minus(), EXAMPLE)
    assert tried == [True, False] and note == inductor.UNFROZEN and path == work.place("int8", ".pt2")


def test_a_module_that_no_file_computes_is_an_error(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong(False, monkeypatch, Minus())
    with pytest.raises(WhetError, match="file of 'int8' computes something else"):
        inductor.compiled(work, "int8", Minus(), EXAMPLE)


@pytest.mark.slow
def test_the_file_of_a_plain_module_is_frozen(work: Work) -> None:
    torch.manual_seed(0)
    path, note = inductor.compiled(work, "plain", nn.Linear(4, 3).eval(), EXAMPLE)
    assert path.stat().st_size > 0 and note == ""
