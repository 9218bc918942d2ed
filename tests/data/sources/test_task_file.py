from __future__ import annotations

from pathlib import Path

import pytest

from whet.core.errors import LiftError, TaskError
from whet.core.task import Task
from whet.data.sources import understood

CODE = """
import torch, whet
def make():
    rows = [(torch.zeros(4, 3), torch.zeros(4).long())]
    return whet.Task("mine", train=rows, val=rows, loss=torch.nn.functional.cross_entropy, metric=whet.accuracy)
def other():
    return 3
"""


def test_a_function_gives_a_task(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(CODE)
    data = understood(f"{tmp_path}/own.py:make")
    assert isinstance(data.made, Task) and data.made.name == "mine" and "mine" in data.kind
    with pytest.raises(TaskError, match=r"must return a whet.Task, or a Bundle of one; got int"):
        understood(f"{tmp_path}/own.py:other")
    with pytest.raises(LiftError, match="no function 'mkae'; it defines: make, other"):
        understood(f"{tmp_path}/own.py:mkae")
