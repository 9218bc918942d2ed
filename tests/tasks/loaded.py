"""A task where its data are there; its tests are skipped where they are not."""

from __future__ import annotations

import pytest

from whet import tasks
from whet.core.errors import TaskError
from whet.tasks.bundle import Bundle


def bundle(name: str) -> Bundle:
    try:
        return tasks.get(name)
    except TaskError as error:
        pytest.skip(str(error))
