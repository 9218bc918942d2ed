"""The trained digits network, which the tests of the flow share."""

from __future__ import annotations

from typing import Any

import pytest

import whet
from whet import tasks


@pytest.fixture(scope="module")
def digits() -> tuple[whet.Net, Any]:
    bundle = tasks.get("digits")
    module, example = bundle.trained()
    return whet.lift(module, example, name="digits_cnn"), bundle
