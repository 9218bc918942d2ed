"""A function of a Python file that returns a task: for all data that no other source reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whet.core.errors import TaskError
from whet.core.task import Task
from whet.data.sources.source import Data, Options
from whet.graph.sources import made_by


class TaskFile:
    """`FILE.py:FUNCTION`, which returns a `whet.Task`, or a bundle of one with its networks."""

    def load(self, path: Path, options: Options) -> Data:
        file, _, function = str(path).partition(".py:")
        made: Any = made_by(Path(file + ".py"), function)
        task = made if isinstance(made, Task) else getattr(made, "task", None)
        if not isinstance(task, Task):
            raise TaskError(f"'{path}' must return a whet.Task, or a Bundle of one; got {type(made).__name__}.")
        return Data(f"task '{task.name}' of a Python file", {}, "agreement", "as its code says", made=made)
