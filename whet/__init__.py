"""whet makes a neural network fast and small on the hardware it will run on, and measures every claim there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whet.core.errors import WhetError
from whet.core.net import Net
from whet.core.passes import Chain, Pass, Result
from whet.core.run import Budget, Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Artifact, Target
from whet.core.task import Task, accuracy

if TYPE_CHECKING:
    from whet.flow.optimize import optimize as optimize
    from whet.graph.lift import lift as lift

__version__ = "0.1.0"
__all__ = [
    "Artifact", "Budget", "Chain", "Choice", "Decision", "Net", "Pass", "Result", "Run", "Space", "Target",
    "Task", "WhetError", "accuracy", "lift", "optimize",
]  # fmt: skip

_LAZY = {"lift": "whet.graph.lift", "optimize": "whet.flow.optimize"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'whet' has no attribute '{name}'")
