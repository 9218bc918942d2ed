"""Short measurements for the tests of the flow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
