"""Weights are found in every way that whet writes them, with the shapes that their contexts go by."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from packable import laplace, model, written

from whet.core.errors import ArtifactError
from whet.graph.grids import Grid
from whet.pack.contexts import Layout
from whet.pack.forms import FORMS
from whet.pack.items import Item, items_of
from whet.pack.protobuf import tensors


def items(data: bytes) -> list[Item]:
    found = items_of(data, tensors(data, "m"), "m")
    assert all(item.is_exact(data) for item in found)
    spans = sorted(span for item in found for span in item.spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    return found


@pytest.mark.parametrize(("grid", "zeros", "form", "least"), [
    (None, 0.0, "floats", 1152), (Grid(8), 0.0, "bytes", 1152), (Grid(4), 0.0, "nibbles", 1152),
    (Grid(3), 0.0, "digits", 5504), (Grid(3, top=2), 0.0, "digits", 5504),
    (Grid(8), 0.8, "masked", 5504), (None, 0.8, "mask", 5504),
])  # fmt: skip
def test_each_way_of_writing(grid: Grid | None, zeros: float, form: str, least: int, tmp_path: Path) -> None:
    found = items(written(grid, tmp_path, zeros))
    largest = max((i for i in found if FORMS[i.form].name == form), key=lambda item: item.count)
    assert largest.count >= least
    assert {(16, 8, 9), (16, 16, 9)} & {layout[:3] for item in found for layout in item.layouts}


def test_small_floats_are_one_item_and_other_small_tensors_none() -> None:
    data = model(a=np.ones(20, np.float32), b=np.ones(8, np.int64), c=np.ones(30, np.float32), d=np.ones(9, np.int8))
    (only,) = items(data)
    assert only.name == "2 small tensors" and only.layouts == (Layout(50, 1),) and len(only.spans) == 2


def test_shapes_become_matrices() -> None:
    data = model(a=laplace(1, 16, 20), b=laplace(300), c=laplace(16, 2, 3, 3), d=laplace(32, 1, 3, 3))
    shapes = {item.name: item.layouts[0][:3] for item in items(data)}
    assert shapes == {"a": (16, 20, 1), "b": (300, 1, 1), "c": (16, 2, 9), "d": (32, 1, 9)}


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ArtifactError, match="'m' is no ONNX file"):
        items_of(b"\x3a\x01", [], "m")
