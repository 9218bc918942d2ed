"""A checkpoint brings back weights, optimizer and random state exactly, and only to the training it is of."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn, optim

from whet.core.errors import ArtifactError
from whet.train.checkpoint import between_steps, load_checkpoint, save_checkpoint

META = {"recipe": "r", "seed": 3, "steps": 5}


def training(kind: str, width: int = 4) -> tuple[nn.Module, optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, 1))
    made: dict[str, Any] = {
        "sgd": lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True),
        "adamw": lambda p: optim.AdamW(p, 0.1),
    }
    return module, made[kind](module.parameters())


def step(module: nn.Module, optimizer: optim.Optimizer) -> None:
    optimizer.zero_grad()
    module(torch.randn(8, 3)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_training_goes_on_exactly(tmp_path: Path, kind: str) -> None:
    module, optimizer = training(kind)
    for _ in range(3):
        step(module, optimizer)
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, module, optimizer, META, {"a.b": torch.tensor([1.0, 2.0])})
    for _ in range(3):
        step(module, optimizer)
    other, anew = training(kind)
    torch.manual_seed(99)
    metadata, kept = load_checkpoint(path, other, anew, META)
    assert metadata["steps"] == 5 and kept["a.b"].tolist() == [1.0, 2.0] and len(kept) == 1
    for _ in range(3):
        step(other, anew)  # draws data and dropout from the generator, too
    assert all(map(torch.equal, module.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize("changed", [{"recipe": "s"}, {"seed": 4}])
def test_another_training_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    module, optimizer = training("sgd")
    save_checkpoint(tmp_path / "c.safetensors", module, optimizer, META)
    with pytest.raises(ArtifactError, match="another recipe or seed"):
        load_checkpoint(tmp_path / "c.safetensors", module, optimizer, {**META, **changed})


def test_another_network_is_refused_by_what_differs(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.safetensors", *training("sgd"), META)
    with pytest.raises(ArtifactError, match=r"of another network:.*size mismatch"):
        load_checkpoint(tmp_path / "c.safetensors", *training("sgd", 6), META)


def test_ctrl_c_is_held_back_until_the_step_is_whole() -> None:
    before = signal.getsignal(signal.SIGINT)
    with between_steps() as pressed:
        assert not pressed
        os.kill(os.getpid(), signal.SIGINT)
        assert pressed == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match="broken"), between_steps():
        raise ValueError("broken")
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_leaves_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), list[Any]()

    def work() -> None:
        with between_steps() as pressed:
            seen.extend([signal.getsignal(signal.SIGINT), list(pressed)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, []]
