"""Non-maximum suppression, by hand on three boxes."""

import numpy as np
import pytest
import torch
from rows import known, row

from whet.onnx_reader.operators.detection import corners, shared
from whet.onnx_reader.values import NotRead

BOXES = np.array([[[0, 0, 2, 2], [0, 1, 2, 3], [5, 5, 6, 6]]], np.float32)
SCORES = np.array([[[0.5, 0.9, 0.1]]], np.float32)


def test_a_box_that_overlaps_a_better_one_goes() -> None:
    assert row("NonMaxSuppression", BOXES, SCORES, known(3), np.array([0.3])).tolist() == [[0, 0, 1], [0, 0, 2]]
    assert row("NonMaxSuppression", BOXES, SCORES, known(3), np.array([0.4])).tolist() == [
        [0, 0, 1],
        [0, 0, 0],
        [0, 0, 2],
    ]
    assert row("NonMaxSuppression", BOXES, SCORES, known(1), np.array([0.4])).tolist() == [[0, 0, 1]]
    assert row("NonMaxSuppression", BOXES, SCORES, known(3), np.array([0.3]), np.array([0.2])).tolist() == [[0, 0, 1]]
    assert row("NonMaxSuppression", BOXES, SCORES).shape == (0, 3), "without a number none is taken"


def test_the_share_of_two_boxes_is_their_intersection_over_union() -> None:
    first, second = corners(BOXES[0], False)[:2]
    assert shared(first, second) == pytest.approx(2 / 6)
    assert shared(first, first[[0, 1, 0, 1]]) == 0.0


def test_corners_may_be_any_two_or_a_centre_and_a_size() -> None:
    turned = BOXES[..., [2, 3, 0, 1]]
    assert np.array_equal(corners(turned, False), corners(BOXES, False))
    assert corners(np.array([1.0, 2.0, 4.0, 6.0]), True).tolist() == [-1.0, -1.0, 3.0, 5.0]


def test_boxes_that_depend_on_data_are_refused() -> None:
    with pytest.raises(NotRead, match="whose number is then unknown"):
        row("NonMaxSuppression", torch.from_numpy(BOXES), SCORES)
