"""The trained digits network, which the tests of the flow share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import whet
from whet import tasks
from whet.flow import deliver, workbench


@pytest.fixture(autouse=True, scope="module")
def brief() -> Iterator[None]:
    """Time files briefly: the tests of the flow are about what is done, not about how fast the files are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliver, "SECONDS_EACH", 0.2)
        patch.setattr(workbench, "BASELINE_SECONDS", 1.5)
        patch.setattr(workbench, "CANDIDATE_SECONDS", 0.3)
        patch.setattr(workbench, "FINISHED_SECONDS", 0.4)
        yield


@pytest.fixture(scope="module")
def digits() -> tuple[whet.Net, Any]:
    bundle = tasks.get("digits")
    module, example = bundle.trained()
    return whet.lift(module, example, name="digits_cnn"), bundle
