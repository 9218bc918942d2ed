"""Progress for other tools: what `whet.optimize(progress=...)` takes to write its figures for TensorBoard or MLflow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from whet.report.notebook import NotInstalledError


def scalars(event: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a progress event: losses, samples a second, what is left of the budget.

    >>> scalars({"stage": "training", "loss": 0.5, "seconds_left": 9, "best": "x1.50"})
    {'loss': 0.5, 'seconds_left': 9.0}
    """
    numbers = {k: float(v) for k, v in event.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


class TensorBoard:
    """Writes each event's numbers, by the number of the event, and stages as text: `progress=TensorBoard("runs/tb")`.

    Raises: NotInstalledError without the package tensorboard.
    """

    def __init__(self, folder: str | Path) -> None:
        self.events, self.stage = 0, ""
        self.writer = _imported("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder))

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Write an event."""
        for name, value in scalars(event).items():
            self.writer.add_scalar(f"whet/{name}", value, self.events)
        if event.get("stage", self.stage) != self.stage:
            self.stage = str(event["stage"])
            self.writer.add_text("whet/stage", self.stage, self.events)
        self.writer.flush()
        self.events += 1


class MLflow:
    """Logs each event's numbers as metrics of the active run, by the number of the event: `progress=MLflow()`.

    Raises: NotInstalledError without the package mlflow.
    """

    def __init__(self) -> None:
        self.events, self.mlflow = 0, _imported("mlflow", "mlflow")

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Log an event."""
        if numbers := scalars(event):
            self.mlflow.log_metrics({f"whet/{name}": value for name, value in numbers.items()}, step=self.events)
        self.events += 1


def _imported(module: str, package: str) -> Any:
    """Return a module of a package that whet needs for nothing else."""
    try:
        return import_module(module)
    except ImportError:
        raise NotInstalledError(f"this progress needs {package}: pip install {package}.") from None
