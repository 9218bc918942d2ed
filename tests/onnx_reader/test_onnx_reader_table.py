"""What a handler is told of its node."""

import pytest

from whet.onnx_reader.graph import Step
from whet.onnx_reader.table import Call, choice
from whet.onnx_reader.values import NotRead


def test_outputs_after_the_last_that_is_wanted_do_not_count() -> None:
    call = Call(Step("Split", "s", ["x"], ["a", "", "c", ""], opset=11), run=lambda body, inputs: [])
    assert (call.op, call.opset, call.outputs) == ("Split", 11, 3)
    assert Call(Step("Split", "s", ["x"], [""]), run=lambda body, inputs: []).outputs == 0
    assert str(call.not_read("a split by 0")) == "a split by 0 is not read"


def test_a_word_that_is_not_allowed_is_told_with_those_that_are() -> None:
    assert (
        choice({"mode": "edge"}, "mode", "constant", "edge") == "edge" and choice({}, "mode", "constant") == "constant"
    )
    with pytest.raises(NotRead, match="mode 'wrap' is not read; constant, edge are allowed"):
        choice({"mode": "wrap"}, "mode", "constant", "edge")
