"""Calibration data made from the network alone: inputs on which its batch norms see what they saw in training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from whet.compress.lockstep import Inputs
from whet.core.checks import whole
from whet.core.errors import CalibrationError, unknown
from whet.core.net import Net
from whet.core.run import Run
from whet.core.task import Task
from whet.graph.fold import BATCH_NORMS
from whet.graph.last_known import LastKnown, Only, weights_version

TASK, DISTILLED = "task", "distilled"
SAMPLES, STEPS, RATE = 64, 200, 0.1
"""Inputs that are made, in one batch, the steps of Adam that they take, and their size; Cai et al. take up to 500."""
_tasks = LastKnown[Task]()


def distilled(net: Net, samples: int = SAMPLES, steps: int = STEPS, seed: int = 0) -> list[Inputs]:
    """Return a batch of inputs `(samples, ...)` whose statistics in front of each batch norm are those that it holds.

        x* = argmin_x sum_l |mean_l(x) - mean_l|^2 + |deviation_l(x) - deviation_l|^2

    by Adam from standard normal numbers, over the batch norms l with the means and deviations of training, and the
    inputs themselves, of mean 0 and deviation 1. No data, no labels; the network stays as it is.

    Raises: CalibrationError where a network has no batch norm with statistics, or reads what is not of floats.
    Paper: Cai et al. 2020, ZeroQ: A Novel Zero Shot Quantization Framework.
    """
    whole("samples", samples, least=2)
    whole("steps", steps, least=0)
    if reason := undistillable(net):
        raise CalibrationError(f"calibration data cannot be distilled from '{net.name}': {reason}.")
    generator, net = torch.Generator().manual_seed(seed), net.copy()
    for parameter in net.module.parameters():
        parameter.requires_grad_(False)
    x = torch.randn(samples, *net.example[0].shape[1:], generator=generator).requires_grad_(True)
    optimizer, seen = torch.optim.Adam([x], lr=RATE), _Seen(net)
    with net.evaluating(), torch.enable_grad():
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
            optimizer.zero_grad()
            seen.lost = far([x.mean(), x.std()], [torch.tensor(0.0), torch.tensor(1.0)])
            seen.run(x)
            seen.lost.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return [(x.detach(),)]


def undistillable(net: Net) -> str:
    """Return why a network tells nothing of its inputs; nothing if it does."""
    if len(net.example) != 1 or not net.example[0].is_floating_point():
        return "it does not read one tensor of floats"
    norms = [m for m in net.layers().values() if isinstance(m, BATCH_NORMS) and m.running_mean is not None]
    return "" if norms else "it has no batch norm with statistics"


def far(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Return the squared distances between statistics of channels `(channels,)`, each a mean over channels."""
    return torch.stack([(a - b).square().mean() for a, b in zip(found, wanted, strict=True)]).sum()


class _Seen(fx.Interpreter):
    """Runs a network and adds up how far the statistics in front of its batch norms are from those that they hold."""

    def __init__(self, net: Net) -> None:
        super().__init__(net.module)
        self.lost = torch.zeros(())

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        layer = self.module.get_submodule(str(target))
        if isinstance(layer, BATCH_NORMS) and layer.running_mean is not None and layer.running_var is not None:
            rows = args[0].movedim(1, -1).flatten(0, -2)
            held = [layer.running_mean, (layer.running_var + layer.eps).sqrt()]
            self.lost = self.lost + far([rows.mean(0), (rows.var(0, unbiased=False) + layer.eps).sqrt()], held)
        return super().call_module(target, args, kwargs)


def check(name: str) -> str:
    """Return where calibration data come from. Raises: UnknownNameError for what there is not."""
    if name not in (TASK, DISTILLED):
        raise unknown("calibration", str(name), (TASK, DISTILLED))
    return name


def calibrated(run: Run, net: Net, source: str) -> Run:
    """Return a run whose calibration data are the task's, or with `distilled` those that the network tells of."""
    if source == TASK:
        return run
    return replace(run, task=_tasks.of(net, (weights_version(net), Only(run.task), run.seed), lambda: _task(run, net)))


def _task(run: Run, net: Net) -> Task:
    made = [(inputs, None) for inputs in distilled(net, seed=run.seed)]
    return replace(run.task, calibration=made, train=None)
