"""What an output means: classes lie in the last axis unless it is said where."""

import pytest

from whet.core.errors import UnknownNameError
from whet.core.kinds import KINDS, Kind


def test_only_what_has_classes_has_an_axis_of_them() -> None:
    axes = {name: Kind(name).class_axis for name in KINDS}
    assert axes == {"logits": -1, "probabilities": -1, "embedding": None, "regression": None, "integers": None}
    assert Kind("logits", 1).class_axis == 1 and str(Kind("embedding")) == "embedding"


def test_a_misspelt_kind_is_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'logits'"):
        Kind("logit")
