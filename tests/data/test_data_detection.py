"""Mean average precision of boxes: cases by hand, the forms of outputs and targets, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from whet.core.errors import TaskError
from whet.data.detection import detected, mean_average_precision, packed, wanted

SQUARE, OTHER = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]
NOWHERE = [50.0, 50.0, 60.0, 60.0]


def truth(*boxes: tuple[list[float], int]) -> dict[str, Any]:
    return {"boxes": torch.tensor([box for box, _ in boxes]), "labels": torch.tensor([label for _, label in boxes])}


def found(*boxes: tuple[list[float], float, int]) -> dict[str, torch.Tensor]:
    """Return detections of one picture: boxes, scores and classes."""
    return {
        "boxes": torch.tensor([[box for box, _, _ in boxes]]),
        "scores": torch.tensor([[score for _, score, _ in boxes]]),
        "labels": torch.tensor([[label for _, _, label in boxes]]),
    }


@pytest.mark.parametrize(
    ("boxes", "targets", "by_hand"),
    [
        ([(SQUARE, 0.9, 1)], [(SQUARE, 1)], 1.0),
        # Intersection over union is .77: found at the six overlaps from .5 to .75 of ten.
        ([([0.0, 0.0, 10.0, 7.7], 0.9, 1)], [(SQUARE, 1)], 0.6),
        # Precision is 1 up to a recall of .5, at 51 of 101 points, and 2/3 at the other 50: the second is false.
        (
            [(SQUARE, 0.9, 1), (NOWHERE, 0.8, 1), (OTHER, 0.7, 1)],
            [(SQUARE, 1), (OTHER, 1)],
            (51 + 50 * 2 / 3) / 101,
        ),
        # A false box that is the least sure costs nothing, one of a class that no picture has does not count.
        ([(SQUARE, 0.9, 1), (NOWHERE, 0.1, 1), (OTHER, 0.95, 7)], [(SQUARE, 1)], 1.0),
        # The second of two boxes on one thing is false; half of what is there is found, at 51 of 101 points.
        ([(SQUARE, 0.9, 1), (SQUARE, 0.8, 1)], [(SQUARE, 1), (OTHER, 1)], 51 / 101),
        # One of two classes is taken for the other: its own precision is 0, as is that of the one that it is taken for
        # beyond what was found.
        ([(SQUARE, 0.9, 1), (OTHER, 0.8, 1)], [(SQUARE, 1), (OTHER, 2)], 0.5),
        ([(NOWHERE, 0.9, 1)], [(SQUARE, 1)], 0.0),
        ([(SQUARE, 0.9, -1)], [(SQUARE, 1)], 0.0),
    ],
)
def test_cases_by_hand(boxes: Any, targets: Any, by_hand: float) -> None:
    assert mean_average_precision(found(*boxes), [truth(*targets)]) == pytest.approx(by_hand)


def test_a_box_counts_in_its_own_picture_alone() -> None:
    outputs = {name: torch.cat([values, values]) for name, values in found((SQUARE, 0.9, 1)).items()}
    outputs["scores"] = torch.tensor([[0.9], [0.8]])
    assert mean_average_precision(outputs, [truth((SQUARE, 1)), truth((SQUARE, 1))]) == 1
    assert mean_average_precision(outputs, [truth((OTHER, 1)), truth((SQUARE, 1))]) == pytest.approx(51 / 101 / 2)


def test_all_forms_of_outputs_and_targets_say_the_same() -> None:
    named = found((SQUARE, 0.9, 1), (OTHER, 0.8, 0))
    scores = torch.tensor([[[0.1, 0.9], [0.8, 0.2]]])
    columns = [named["boxes"], named["scores"].unsqueeze(-1), named["labels"].unsqueeze(-1).float()]
    outputs = [
        named,
        (named["boxes"], named["labels"], named["scores"]),
        {"pred_boxes": named["boxes"], "logits": scores},
        torch.cat(columns, -1),
    ]
    for form in outputs:
        (one,) = detected(form)
        assert one.scores is not None
        assert one.boxes.tolist() == [SQUARE, OTHER] and one.labels.tolist() == [1, 0]
        assert one.scores.tolist() == pytest.approx([0.9, 0.8])
    tensor = torch.tensor([[[*SQUARE, 1], [*OTHER, 0], [0.0, 0.0, 0.0, 0.0, -1]]])
    given = [tensor, [truth((SQUARE, 1), (OTHER, 0))], {"boxes": tensor[..., :4], "labels": tensor[..., 4].long()}]
    for targets in given:
        (box,) = wanted(targets)
        assert box.boxes.tolist() == [SQUARE, OTHER] and box.labels.tolist() == [1, 0]
        assert [mean_average_precision(form, targets) for form in outputs] == pytest.approx([1.0] * 4)


def test_what_is_no_detection_is_said() -> None:
    none = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}]
    one = [truth((SQUARE, 1))]
    with pytest.raises(TaskError, match="no picture has a box"):
        mean_average_precision(found((SQUARE, 0.9, 1)), none)
    with pytest.raises(TaskError, match=r"outputs \(1, 10\) are no detections: these are boxes \(N, K, 4\)"):
        mean_average_precision(torch.zeros(1, 10), one)
    with pytest.raises(TaskError, match="targets are no boxes"):
        mean_average_precision(found((SQUARE, 0.9, 1)), torch.zeros(1, 3))
    with pytest.raises(TaskError, match="targets are of 2 pictures, the outputs of 1"):
        mean_average_precision(found((SQUARE, 0.9, 1)), one * 2)
    with pytest.raises(TaskError, match=r"boxes \(1, 2, 4\) and their labels \(1, 3\)"):
        packed(torch.zeros(1, 2, 4), torch.zeros(1, 3), "here")
    with pytest.raises(TaskError, match="here: 1 boxes end before they begin"):
        packed(torch.tensor([[[5.0, 5.0, 2.0, 2.0], [5.0, 5.0, 2.0, 2.0]]]), torch.tensor([[0, -1]]), "here")
