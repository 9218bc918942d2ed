"""The state of a learner as one flat dictionary of tensors: modules, optimizers, random generators and buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]


class Stateful(Protocol):
    """What tells its state as tensors and takes it back."""

    def tensors(self) -> Tensors:
        """Return the state, tensors of any shapes."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to a state, of the shapes that `tensors` gave."""
        ...


Part = nn.Module | torch.optim.Optimizer | torch.Generator | Stateful


def gathered(**parts: Part) -> Tensors:
    """Return the tensors of all parts, in their shapes, each under its part's name and a dot.

    >>> sorted(gathered(network=nn.Linear(2, 1), random=torch.Generator()))
    ['network.bias', 'network.weight', 'random.state']
    """
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in _told(part).items()}


def spread(tensors: Mapping[str, Tensor], **parts: Part) -> None:
    """Give each part the tensors, in their shapes, that `gathered` took from it."""
    for name, part in parts.items():
        own = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
        if isinstance(part, nn.Module):
            part.load_state_dict(own)
        elif isinstance(part, torch.optim.Optimizer):
            _restore_optimizer(part, own)
        elif isinstance(part, torch.Generator):
            part.set_state(own["state"])
        else:
            part.restore(own)


def _told(part: Part) -> Tensors:
    if isinstance(part, nn.Module):
        return dict(part.state_dict())
    if isinstance(part, torch.optim.Optimizer):
        states = part.state_dict()["state"]
        return {f"{index}.{key}": torch.as_tensor(v) for index, state in states.items() for key, v in state.items()}
    if isinstance(part, torch.Generator):
        return {"state": part.get_state()}
    return part.tensors()


def _restore_optimizer(optimizer: torch.optim.Optimizer, own: Mapping[str, Tensor]) -> None:
    states: dict[int, dict[str, Any]] = {}
    for name, value in own.items():
        index, _, key = name.partition(".")
        states.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
