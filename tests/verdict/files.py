"""Small files of networks, and data that they were made for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

import whet
from whet.hardware.targets import get

SETTINGS = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}


def network(width: int = 16) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3)).eval()


def saved(folder: Path, module: nn.Module, example: Any = None, settings: dict[str, Any] | None = None) -> Path:
    """Write a network's file, with `settings.json` beside it where settings are given."""
    net = whet.lift(module, (torch.zeros(2, 8),) if example is None else example)
    path = get("onnxruntime-cpu").save(net, folder)
    if settings is not None:
        (folder / "settings.json").write_text(json.dumps({**settings, "batch": 1}))
    return path


def task(module: nn.Module, right: float = 0.8, rows: int = 100, **more: Any) -> whet.Task:
    """Return data of which a network gets a share `right` right."""
    torch.manual_seed(0)
    x = torch.randn(rows, 8)
    with torch.no_grad():
        labels = module(x).argmax(1)
    wrong = rows - round(right * rows)
    labels[:wrong] = (labels[:wrong] + 1) % 3
    data = [(x[:60], labels[:60]), (x[60:], labels[60:])]
    return whet.Task("made up", None, data, metric=whet.accuracy, **more)
