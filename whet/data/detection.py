"""Boxes of things in pictures: how they are laid out, and mean average precision as COCO defines it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import torch
from torch import Tensor

from whet.core.errors import TaskError
from whet.data.sources.source import need
from whet.support.structure import Tree, tensors

CORNERS = 4
DETECTIONS = (
    "boxes (N, K, 4), scores (N, K) and whole labels (N, K); boxes and scores of each class (N, K, classes); or \
(N, K, 6): a box, its score, its class"
)


class Found(NamedTuple):
    """The boxes (n, 4) of one picture as corners, their classes (n,) and, of detections, their scores (n,)."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor | None = None


def packed(boxes: Any, labels: Any, where: str) -> Tensor:
    """Return boxes (N, most, 4) and labels (N, most) as one tensor of floats (N, most, 5), a box and its class.

    A class below zero says that there is no box.

    >>> packed(torch.ones(1, 2, 4), torch.tensor([[3, -1]]), "here")[0, 0].tolist()
    [1.0, 1.0, 1.0, 1.0, 3.0]

    Raises: TaskError for other shapes, and for boxes that are no corners.
    """
    corners, classes = torch.as_tensor(boxes).float(), torch.as_tensor(labels)
    if corners.dim() != 3 or corners.shape[-1] != CORNERS or corners.shape[:2] != classes.shape:
        raise TaskError(
            f"{where}: boxes {tuple(corners.shape)} and their labels {tuple(classes.shape)}; they are (pictures, most, "
            "4) and (pictures, most), -1 where a picture has fewer."
        )
    wrong = int(((corners[..., 2:] < corners[..., :2]).any(-1) & (classes >= 0)).sum())
    if wrong:
        raise TaskError(
            f"{where}: {wrong} boxes end before they begin; a box is x1, y1, x2, y2. Are these x, y, width, height?"
        )
    return torch.cat([corners, classes.float().unsqueeze(-1)], -1)


def wanted(targets: Tree) -> Iterator[Found]:
    """Yield what is in each picture: of a tensor (N, most, 5) as `packed` makes it, or of boxes and labels by name.

    Those are `{"boxes": (N, most, 4), "labels": (N, most)}`, or a list with such a dictionary a picture. Labels below
    zero, and `None` for a picture without any, do not count.
    """
    if isinstance(targets, Tensor) and targets.dim() == 3 and targets.shape[-1] == CORNERS + 1:
        rows: Any = ((row[:, :CORNERS], row[:, CORNERS]) for row in targets)
    elif isinstance(targets, Mapping) and {"boxes", "labels"} <= targets.keys():
        rows = zip(targets["boxes"], targets["labels"], strict=True)
    elif isinstance(targets, list) and all(
        isinstance(row, Mapping) and {"boxes", "labels"} <= row.keys() for row in targets
    ):
        rows = ((row["boxes"], row["labels"]) for row in targets)
    else:
        raise TaskError("targets are no boxes: give a list with {'boxes': (n, 4), 'labels': (n,)} for each picture.")
    for boxes, labels in rows:
        corners, classes = torch.as_tensor(boxes).float().reshape(-1, CORNERS), torch.as_tensor(labels).reshape(-1)
        yield Found(corners[classes >= 0], classes[classes >= 0].long())


def detected(outputs: Tree) -> Iterator[Found]:
    """Yield what a network finds in each of N pictures, K boxes each; those with a label below zero do not count.

    Outputs are boxes (N, K, 4), scores (N, K) and labels (N, K), by these names or told by their shapes and types;
    boxes and a score for each class (N, K, classes), of which the largest counts; or one tensor (N, K, 6) of both.

    Raises: TaskError for other outputs.
    """
    given = [t for t in tensors(outputs) if t.dim() in (2, 3)]
    named: Any = outputs if isinstance(outputs, Mapping) and {"boxes", "scores", "labels"} <= outputs.keys() else None
    if named is not None:
        boxes, scores, labels = (named[key] for key in ("boxes", "scores", "labels"))
    elif len(given) == 1 and given[0].dim() == 3 and given[0].shape[-1] == CORNERS + 2:
        boxes, scores, labels = given[0][..., :CORNERS], given[0][..., CORNERS], given[0][..., CORNERS + 1]
    else:
        boxes, scores, labels = _by_shapes(given)
    for corners, certain, classes in zip(boxes.float(), scores.float(), labels.round().long(), strict=True):
        there = classes >= 0
        yield Found(corners[there], classes[there], certain[there])


def _by_shapes(given: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    boxes = next((t for t in given if t.dim() == 3 and t.shape[-1] == CORNERS), None)
    rest = [t for t in given if t is not boxes and boxes is not None and t.shape[:2] == boxes.shape[:2]]
    whole = [t for t in rest if t.dim() == 2 and not t.is_floating_point()]
    scores = [t for t in rest if t.dim() == 2 and t.is_floating_point()]
    each = [t for t in rest if t.dim() == 3]
    if boxes is not None and len(whole) == len(scores) == 1:
        return boxes, scores[0], whole[0]
    if boxes is not None and len(each) == 1 and len(rest) == 1:
        best = each[0].float().max(-1)
        return boxes, best.values, best.indices
    shapes = ", ".join(str(tuple(t.shape)) for t in given) or "none"
    raise TaskError(f"outputs {shapes} are no detections: these are {DETECTIONS}.")


def mean_average_precision(outputs: Tree, targets: Tree) -> float:
    """Return COCO's mean average precision, in [0, 1]: the mean over classes, and over the overlaps .5, .55, ... .95.

    Average precision is the area under precision over recall, of the 100 surest boxes of each picture; a box is found
    where intersection over union reaches the overlap. Boxes are corners in any unit that outputs and targets share, in
    the forms of `detected` and `wanted`. Counted by `pycocotools` (Lin et al. 2014, Microsoft COCO).

    Raises: TaskError where no picture has a box, where numbers of pictures differ, and without `pycocotools`.
    """
    truth, answers = list(wanted(targets)), list(detected(outputs))
    if len(truth) != len(answers):
        raise TaskError(f"the targets are of {len(truth)} pictures, the outputs of {len(answers)}.")
    if not any(len(each.labels) for each in truth):
        raise TaskError("no picture has a box in the targets, so average precision is not defined.")
    rows = [
        [number, *_with_sides(box), float(score), int(label)]
        for number, found in enumerate(answers, 1)
        for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True)  # type: ignore[arg-type]
    ]
    return _by_coco(truth, rows) if rows else 0.0


def _by_coco(truth: list[Found], rows: list[list[float]]) -> float:
    coco, evaluation = need("pycocotools.coco", "--metric map"), need("pycocotools.cocoeval", "--metric map")
    boxes = [
        (number, box, int(label)) for number, each in enumerate(truth, 1) for box, label in zip(each.boxes, each.labels)
    ]
    with redirect_stdout(io.StringIO()):  # it tells how long each step took
        right = coco.COCO()
        right.dataset = {
            "images": [{"id": number} for number in range(1, len(truth) + 1)],
            "categories": [{"id": label} for label in sorted({label for _, _, label in boxes})],
            "annotations": [
                {"id": index, "image_id": number, "category_id": label, "bbox": _with_sides(box), "iscrowd": 0,
                 "area": float((box[2] - box[0]) * (box[3] - box[1]))}
                for index, (number, box, label) in enumerate(boxes, 1)
            ],
        }  # fmt: skip
        right.createIndex()
        done = evaluation.COCOeval(right, right.loadRes(torch.tensor(rows, dtype=torch.float64).numpy()), "bbox")
        done.evaluate()
        done.accumulate()
    precision = done.eval["precision"][:, :, :, 0, -1]  # boxes of all sizes, the most detections
    return float(precision[precision > -1].mean())


def _with_sides(box: Tensor) -> list[float]:
    x1, y1, x2, y2 = box.tolist()
    return [x1, y1, x2 - x1, y2 - y1]
