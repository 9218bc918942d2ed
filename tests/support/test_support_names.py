"""A hint helps where a name is near, and is left out where it is not."""

from __future__ import annotations

import pytest

from whet.support.names import nearest

NAMES = ["cpu", "openvino-cpu", "depth", "width", "tie", "to", "max", "min", "quantize", "resnet20", "x"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("dept", "depth"), ("with", "width"), ("widht", "width"), ("tei", "tie"), ("maximize", "max"),
        ("quant", "quantize"), ("xs", "x"),
        ("openvin-cpu", "openvino-cpu"), ("resent20", "resnet20"), ("gpu", None), ("tpu", None), ("nosuch", None),
        ("cuda", None), ("z", None), ("", None),
    ],
)  # fmt: skip
def test_what_is_near_and_what_is_not(given: str, meant: str | None) -> None:
    assert nearest(given, NAMES) == meant
