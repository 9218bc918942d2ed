"""What was told from task and outputs is said: the scale of the limit, what stands for labels, how outputs compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from quick import made, search, untimed

import whet
from whet.core.errors import TaskError
from whet.flow.optimize import optimize
from whet.flow.quantities import LimitError
from whet.verify.manifest import read_manifest

QUICK: dict[str, Any] = {"target": "onnxruntime-cpu", "passes": ("quantize",), "epochs": 1.0, "trials": 1}


def test_the_scale_of_a_metric_in_percent_is_said(tmp_path: Path) -> None:
    percent = lambda outputs, targets: 100 * whet.accuracy(outputs, targets)  # noqa: E731
    with untimed():
        front = search(tmp_path / "r", metric=percent, passes=("quantize",), max_drop="30%")
    assert "at most 30 of accuracy (30%), whose scale is 0 to 100" in front.conclusion
    assert front.members and all(m.drop <= 30 and set(m.agreement) == {"top1_agreement"} for m in front.members)


def test_without_labels_embeddings_are_compared_by_their_angle(tmp_path: Path) -> None:
    net, task = made()
    inputs = [x for x, _ in task.val]
    unlabelled = whet.Task("unlabelled", inputs, inputs, kinds="embedding")  # type: ignore[arg-type]
    with untimed():
        front = optimize(net, unlabelled, out=tmp_path / "r", max_drop="30%", **QUICK)
    assert front.metric == "cosine_similarity" and front.reference == pytest.approx(1.0, abs=1e-4)
    assert "quality is cosine_similarity with the original (embedding)" in front.conclusion
    assert "distillation from the original alone" in front.conclusion and "by cosine" in front.conclusion
    figures = read_manifest(front.folder / "front" / "0")["figures"]
    assert figures["cosine_similarity"]["unit"] == "mean cosine of rows" and "top1_agreement" not in figures
    assert "cosine 0.9" in (page := front.report.read_text()) or "cosine 1.0" in page


@pytest.mark.parametrize(
    ("options", "data", "error", "said"),
    [
        ({"max_drop": 1.0}, {}, LimitError, "allows any loss of accuracy"),
        ({"max_drop": "30%"}, {"train": None}, TaskError, "no training data, and elastic and epochs train"),
        ({"max_drop": "30%"}, {"val": iter([])}, TaskError, "val is a list_iterator, which can be read once only"),
        ({"max_drop": "30%"}, {"loss": None}, TaskError, "training labels but no loss"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_folder_is_made(
    tmp_path: Path, options: dict[str, Any], data: dict[str, Any], error: type[Exception], said: str
) -> None:
    net, task = made()
    with pytest.raises(error, match=said):
        optimize(net, replace(task, **data), out=tmp_path / "r", **{**QUICK, **options})
    assert not (tmp_path / "r").exists()
