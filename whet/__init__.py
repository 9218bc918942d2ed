"""whet makes a neural network fast and small on the hardware it will run on, and measures every claim there."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from whet.core.errors import WhetError

if TYPE_CHECKING:
    from whet.core.net import Net as Net
    from whet.core.passes import Chain as Chain
    from whet.core.passes import Pass as Pass
    from whet.core.passes import Result as Result
    from whet.core.run import Budget as Budget
    from whet.core.run import Run as Run
    from whet.core.space import Choice as Choice
    from whet.core.space import Decision as Decision
    from whet.core.space import Space as Space
    from whet.core.target import Artifact as Artifact
    from whet.core.target import Target as Target
    from whet.core.task import Task as Task
    from whet.core.task import accuracy as accuracy
    from whet.flow.loaded import load as load
    from whet.flow.optimize import optimize as optimize
    from whet.graph.lift import lift as lift
    from whet.train.recipe import Recipe as Recipe

__version__ = "0.1.0"
_PLACES = {
    "core.net": ("Net",),
    "core.passes": ("Chain", "Pass", "Result"),
    "core.run": ("Budget", "Run"),
    "core.space": ("Choice", "Decision", "Space"),
    "core.target": ("Artifact", "Target"),
    "core.task": ("Task", "accuracy"),
    "flow.loaded": ("load",),
    "flow.optimize": ("optimize",),
    "graph.lift": ("lift",),
    "train.recipe": ("Recipe",),
}
"""Where names are that are imported when they are first asked for: torch takes two seconds."""
_LAZY = {name: f"whet.{place}" for place, names in _PLACES.items() for name in names}
__all__ = [
    "Artifact", "Budget", "Chain", "Choice", "Decision", "Net", "Pass", "Recipe", "Result", "Run", "Space",
    "Target", "Task", "WhetError", "accuracy", "lift", "load", "optimize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        globals()[name] = found = getattr(import_module(_LAZY[name]), name)
        return found
    raise AttributeError(f"module 'whet' has no attribute '{name}'")


def __dir__() -> list[str]:
    own = {name for name in globals() if name.startswith("__")}
    return sorted({*own, *__all__})
