"""Row of non-maximum suppression, whose number of results depends on the data: boxes and scores must be known."""

from __future__ import annotations

import numpy as np

from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import Array, Value, at, is_host, scalar


def suppress(call: Call, x: list[Value], a: Attributes) -> Value:
    """Take boxes by falling score, except those that overlap a taken one of their class by more than a threshold.

    Boxes (N, M, 4), scores (N, classes, M); the result is (image, class, box) of each box taken.
    """
    if not (is_host(x[0]) and is_host(x[1])):
        raise call.not_read("suppression of boxes that depend on data, whose number is then unknown,")
    most = int(scalar(x[2])) if at(x, 2) is not None else 0
    overlap = float(scalar(x[3])) if at(x, 3) is not None else 0.0
    lowest = float(scalar(x[4])) if at(x, 4) is not None else None
    found: list[tuple[int, int, int]] = []
    for image, (boxes, classes) in enumerate(zip(corners(x[0], bool(a.get("center_point_box", 0))), x[1])):
        for kind, scores in enumerate(classes):
            found.extend((image, kind, box) for box in _taken(boxes, scores, most, overlap, lowest))
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def corners(boxes: Array, centred: bool) -> Array:
    """Return boxes as (left, bottom, right, top) from two opposite corners (y, x), or from centre and size (x, y)."""
    if centred:
        half = boxes[..., 2:] / 2
        return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], -1)
    first, second = boxes[..., [1, 0]], boxes[..., [3, 2]]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], -1)


def _taken(boxes: Array, scores: Array, most: int, overlap: float, lowest: float | None) -> list[int]:
    order = [int(i) for i in np.argsort(-scores, kind="stable") if lowest is None or scores[i] > lowest]
    taken: list[int] = []
    for box in order:
        if len(taken) >= most:
            break
        if all(shared(boxes[box], boxes[other]) <= overlap for other in taken):
            taken.append(box)
    return taken


def shared(first: Array, second: Array) -> float:
    """Return the common area of two boxes over that of their union; empty boxes share nothing.

    Boxes (left, bottom, right, top).
    """
    size = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    areas = [np.prod(box[2:] - box[:2]) for box in (first, second)]
    if (size <= 0).any() or min(areas) <= 0:
        return 0.0
    common = np.prod(size)
    return float(common / (areas[0] + areas[1] - common))


ROWS: Rows = {"NonMaxSuppression": Row(suppress, known=(2, 3, 4))}
