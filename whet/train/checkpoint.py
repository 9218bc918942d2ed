"""Checkpoints of a training: weights, optimizer and random state, from which it goes on exactly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.errors import ArtifactError
from whet.train.state import read_tensors, write_tensors

SAME = ("recipe", "seed")
"""What a checkpoint and the training that goes on from it must have in common."""


def save_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, metadata: Mapping[str, Any],
    kept: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Write weights, optimizer, random state and what techniques keep, by name and of any shape, with JSON metadata.

    The file is whole or not there at all.
    """
    tensors = {f"module.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"kept.{k}": v.detach() for k, v in kept.items()}
    plain: dict[str, dict[str, float]] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            elif value is not None:
                plain.setdefault(str(index), {})[key] = value
    tensors["random"] = torch.get_rng_state()
    write_tensors(tensors, path, {**metadata, "plain": plain})


def load_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, expected: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Set weights, optimizer and random state to those of a checkpoint of the same training.

    Return its metadata, and by name what techniques kept, tensors of any shape.

    Raises: ArtifactError for a damaged file, one of another network, or one of another recipe or seed.
    """
    tensors, metadata = read_tensors(path)
    if any(metadata.get(key) != expected[key] for key in SAME):
        raise ArtifactError(f"checkpoint '{path}' is of a training with another recipe or seed; move it away.")
    try:
        module.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("module.")})
    except RuntimeError as error:
        raise ArtifactError(f"checkpoint '{path}' is of another network: {str(error).splitlines()[1]}") from error
    state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in metadata["plain"].items()}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    torch.set_rng_state(tensors["random"])
    return metadata, {k[5:]: v for k, v in tensors.items() if k.startswith("kept.")}


@contextmanager
def between_steps() -> Iterator[list[int]]:
    """Hold Ctrl-C back until a step is whole; the list is non-empty once it was pressed.

    A checkpoint from the middle of a step could not be resumed exactly. Outside the main thread, where Python does
    not let signals be handled, it does nothing.
    """
    pressed: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
