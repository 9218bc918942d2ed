"""Figures of a search for TensorBoard and MLflow, with stand-ins for both."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from whet.report.callbacks import MLflow, TensorBoard, scalars
from whet.report.notebook import NotInstalledError

EVENTS: list[dict[str, Any]] = [
    {"stage": "probing", "seconds_left": math.inf}, {"stage": "training", "loss": 0.5, "step": 3, "best": "x1.50"},
    {"stage": "training", "loss": 0.25},
]  # fmt: skip


def test_only_finite_numbers_are_figures() -> None:
    assert [scalars(event) for event in EVENTS] == [{}, {"loss": 0.5, "step": 3.0}, {"loss": 0.25}]
    assert scalars({"simulated": True}) == {}


def test_tensorboard_gets_numbers_by_event_and_each_stage_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    writer = SimpleNamespace(
        add_scalar=lambda *told: written.append(told), add_text=lambda *told: written.append(told), flush=lambda: None
    )
    stand_in = SimpleNamespace(SummaryWriter=lambda folder: written.append(folder) or writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    progress = TensorBoard("runs/tb")
    for event in EVENTS:
        progress(event)
    assert written == [
        "runs/tb", ("whet/stage", "probing", 0), ("whet/loss", 0.5, 1), ("whet/step", 3.0, 1),
        ("whet/stage", "training", 1), ("whet/loss", 0.25, 2),
    ]  # fmt: skip


def test_mlflow_gets_metrics_by_event(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[Any] = []
    stand_in = SimpleNamespace(log_metrics=lambda metrics, step: logged.append((metrics, step)))
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    progress = MLflow()
    for event in EVENTS:
        progress(event)
    assert logged == [({"whet/loss": 0.5, "whet/step": 3.0}, 1), ({"whet/loss": 0.25}, 2)]


@pytest.mark.parametrize(
    ("made", "module"), [(lambda: TensorBoard("x"), "torch.utils.tensorboard"), (MLflow, "mlflow")]
)
def test_without_the_package_it_is_said_what_to_install(
    made: Any, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NotInstalledError, match="pip install"):
        made()
