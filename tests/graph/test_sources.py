"""Where a network comes from; whatever is none is told what is allowed, and no pickle is opened."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from whet.core.errors import LiftError
from whet.graph.sources import copied, evaluating, inner, resolve

FILE = """
from torch import nn, zeros
def alone(): return nn.Linear(2, 3)
def paired(): return nn.Linear(2, 3), zeros(1, 2)
def wrong(): return "a network"
"""


def test_a_function_gives_a_module_or_one_with_its_example(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(FILE)
    module, example = resolve(f"{path}:alone", "mine")
    assert isinstance(module, nn.Linear) and example == "mine"
    assert resolve(f"{path}:paired", "mine")[1].shape == (1, 2)
    with pytest.raises(LiftError, match=r"must return a module or \(module, example\); got str"):
        resolve(f"{path}:wrong", None)
    with pytest.raises(LiftError, match=r"has no function 'other'; it defines: .*alone, paired, wrong"):
        resolve(f"{path}:other", None)
    with pytest.raises(LiftError, match=r"gone\.py' does not exist"):
        resolve(tmp_path / "gone.py:alone", None)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "a network is a module, FILE.pt2, .onnx, .tflite, .xml or FILE.py:FUNCTION; got int"),
        ("net.pt", "is a pickle, and nothing is unpickled"), ("net.txt", "is no network: give a module"),
        ("gone.onnx", "network file 'gone.onnx' does not exist"),
        ("gone.pt2", "network file 'gone.pt2' does not exist"),
    ],
)  # fmt: skip
def test_what_is_no_network_is_told_what_is(source: Any, message: str) -> None:
    with pytest.raises(LiftError, match=message):
        resolve(source, None)


def test_a_damaged_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "half.pt2").write_bytes(b"PK half of an archive")
    with pytest.raises(LiftError, match=r"half\.pt2' is truncated or no torch.export file"):
        resolve(tmp_path / "half.pt2", None)


def test_a_copy_shares_parameters_and_nothing_else() -> None:
    module = nn.Sequential(nn.DataParallel(nn.Linear(2, 2)), nn.BatchNorm1d(2))
    copy = copied(module)
    assert isinstance(copy[0], nn.Linear) and isinstance(module[0], nn.DataParallel)
    assert copy[0].weight is module[0].module.weight and copy[1].running_mean is not module[1].running_mean
    assert copied(module, share=False)[1].weight is not module[1].weight


def test_what_cannot_be_copied_comes_back_itself_or_is_named() -> None:
    module = nn.Linear(2, 2)
    module.lock = threading.Lock()
    assert copied(nn.DataParallel(module)) is module
    with pytest.raises(LiftError, match="Linear cannot be copied, to convert it"):
        copied(module, share=False)


def test_wrappers_of_others_are_left() -> None:
    class DataParallel(nn.Module):
        module = None

    own = DataParallel()
    assert inner(own) is own
    assert isinstance(inner(nn.DataParallel(nn.DataParallel(nn.Linear(1, 1)))), nn.Linear)


def test_each_parts_own_mode_comes_back() -> None:
    module = nn.Sequential(nn.Dropout(), nn.Dropout()).train()
    module[0].eval()
    with pytest.raises(ValueError), evaluating(module):
        assert not any(part.training for part in module.modules())
        raise ValueError
    assert [part.training for part in module.modules()] == [True, False, True]
    assert torch.is_grad_enabled()
