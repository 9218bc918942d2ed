"""A module as a `Net`, its example inputs taken from a task's data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.errors import TaskError
from whet.core.net import Net
from whet.core.task import Task
from whet.data.batches import tensored
from whet.data.rows import first_rows
from whet.graph.lift import lift
from whet.support.structure import mapped, tensors

ROWS = 2
"""How many samples an example has: of one, where the batch lies could not be told."""


def lifted(network: Net | nn.Module, task: Task) -> Net:
    """Return a network as a `Net`; a module is lifted with the inputs of the first validation batch.

    Raises: TaskError where no part of that batch is what the module takes; LiftError where it does not lift.
    """
    if isinstance(network, Net):
        return network
    batch = next(iter(task.val), None)
    tried = list[str]()
    for given in _readings(network, batch):
        try:
            example = _first(given)
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                was, _ = network.training, network.eval()
                try:
                    network(**example) if isinstance(example, dict) else network(*example)
                finally:
                    network.train(was)
        except Exception as error:  # the user's module may raise anything for inputs that are not its own
            tried.append(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
            continue
        return lift(network, example)
    why = tried[0] if tried else f"it is {type(batch).__name__}"
    raise TaskError(
        f"task '{task.name}': the first validation batch is not what {type(network).__name__} takes ({why}): give "
        "whet.lift(module, example) in place of the module."
    )


def _readings(network: nn.Module, batch: Any) -> Iterator[Any]:
    """Return what may be the inputs of a batch, the likelier first: without the last part, the first part, all."""
    if isinstance(batch, Mapping):
        takes = inspect.signature(network.forward).parameters
        named = {name: batch[name] for name in takes if name in batch}
        if named:
            yield named
        batch = tuple(batch.values())
    if not isinstance(batch, tuple | list):
        yield (batch,)
        return
    if len(batch) == 2 and isinstance(batch[0], tuple | list):
        yield tuple(batch[0])
    elif len(batch) == 2 and isinstance(batch[0], Mapping):
        yield from _readings(network, batch[0])
    for part in (batch[:-1], batch[:1], batch):
        if part:
            yield tuple(part)


def _first(given: Any) -> Any:
    """Return the first samples of inputs, a dictionary or a tuple, as tensors `(rows, ...)`."""
    tree = mapped(lambda x: x.float() if isinstance(x, Tensor) and x.dtype == torch.float64 else x, tensored(given))
    rows = next(len(x) for x in tensors(tree) if isinstance(x, Tensor) and x.dim())
    return first_rows(tree, min(ROWS, rows), rows)
