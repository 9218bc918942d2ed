"""Metrics by name against scikit-learn's own, and against figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from whet.core.errors import UnknownNameError
from whet.data import metrics
from whet.data.metrics import METRICS

GENERATOR = torch.Generator().manual_seed(1)
LOGITS = torch.randn(60, 7, generator=GENERATOR)
CLASSES = torch.randint(0, 7, (60,), generator=GENERATOR)


def test_classes_against_scikit_learn() -> None:
    chosen, shares = LOGITS.argmax(1).numpy(), LOGITS.softmax(1).numpy()
    wanted = {
        "accuracy": sk.accuracy_score(CLASSES, chosen),
        "top5": sk.top_k_accuracy_score(CLASSES, shares, k=5),
        "f1": sk.f1_score(CLASSES, chosen, average="macro"),
        "balanced_accuracy": sk.balanced_accuracy_score(CLASSES, chosen),
        "auroc": sk.roc_auc_score(CLASSES, shares, multi_class="ovr", average="macro"),
        "average_precision": sk.average_precision_score(np.eye(7)[CLASSES], shares, average="macro"),
        "miou": sk.jaccard_score(CLASSES, chosen, average="macro"),
    }
    for name, value in wanted.items():
        assert METRICS[name].function(LOGITS, CLASSES) == pytest.approx(value, abs=1e-6), name
        assert METRICS[name].direction == "max" and METRICS[name].drop == "absolute"


def test_two_classes_by_one_logit_or_two() -> None:
    wanted = (CLASSES > 3).long()
    one = LOGITS[:, :1]
    two = torch.cat([-one / 2, one / 2], 1)
    for name in ("accuracy", "f1", "auroc", "average_precision", "balanced_accuracy"):
        assert METRICS[name].function(one, wanted) == pytest.approx(METRICS[name].function(two, wanted)), name
    assert METRICS["auroc"].function(one, wanted) == pytest.approx(sk.roc_auc_score(wanted, one[:, 0]))


def test_numbers() -> None:
    outputs, targets = torch.tensor([[1.0], [2.0], [6.0]]), torch.tensor([1.0, 4.0, 4.0])
    wanted = {
        "rmse": math.sqrt(8 / 3),
        "mae": 4 / 3,
        "r2": 1 - 8 / 6,
        "spearman": math.sqrt(0.75),
        "cosine": 1.0,
    }
    for name, value in wanted.items():
        assert METRICS[name].function(outputs, targets) == pytest.approx(value), name
    assert {name: METRICS[name].drop for name in ("rmse", "mae", "r2")} == {
        "rmse": "relative", "mae": "relative", "r2": "absolute",
    }  # fmt: skip
    assert METRICS["rmse"].direction == "min" and METRICS["r2"].direction == "max"


def test_a_network_that_knows_nothing_is_as_perplexed_as_the_vocabulary_is_large() -> None:
    assert METRICS["perplexity"].function(torch.zeros(2, 5, 9), torch.ones(2, 5).long()) == pytest.approx(9.0)
    assert METRICS["perplexity"].direction == "min"


def test_intersection_over_union_of_pictures_leaves_out_what_is_marked() -> None:
    wanted = torch.tensor([[[0, 0], [1, -1]]])
    logits = torch.nn.functional.one_hot(torch.tensor([[[0, 1], [1, 0]]]), 2).permute(0, 3, 1, 2).float()
    assert METRICS["miou"].function(logits, wanted) == pytest.approx(0.5)


def test_unknown_names_are_said() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        metrics.get("acuracy")
