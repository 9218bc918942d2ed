from __future__ import annotations

import pytest

from whet.core.errors import StudyError
from whet.core.space import Decision
from whet.core.strategy import Observation


@pytest.mark.parametrize("values, violation", [((float("nan"),), 0.0), ((1.0,), float("inf"))])
def test_observation_refuses_numbers_that_are_none(values: tuple[float, ...], violation: float) -> None:
    with pytest.raises(StudyError, match="finite"):
        Observation(Decision(), values, violation)
