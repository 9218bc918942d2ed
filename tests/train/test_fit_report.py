"""A report's figures: its speed is of the training alone, and one that has not begun has no figures that mislead."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import whet
from whet.core.task import Task
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.recipe import Recipe


def test_speed_is_samples_by_seconds_without_the_checks() -> None:
    assert FitReport(samples=600, seconds=3.0, check_seconds=5.0).samples_per_second == pytest.approx(200)
    assert FitReport().samples_per_second == 0 and FitReport(samples=1).samples_per_second < math.inf


def test_reports_share_nothing_and_unknown_losses_are_no_numbers() -> None:
    one, two = FitReport(), FitReport()
    one.losses.append(1.0)
    one.skipped["a"] = "b"
    assert two.losses == [] and two.skipped == {}
    assert math.isnan(two.held_before) and math.isnan(two.held_after) and two.kept == two.failure == ""


def test_a_training_counts_what_it_did() -> None:
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 64, 16)]
    task = Task("toy", train=batches, val=[(x, y)], loss=functional.cross_entropy, metric=whet.accuracy)
    torch.manual_seed(0)
    report = fit(nn.Linear(3, 2), task, recipe=Recipe(precision="f32"), epochs=30)
    assert (report.samples, report.steps) == (1920, 120) and report.distance == ""
    assert 0 < report.data_seconds < report.seconds and report.teacher_seconds == 0
    assert report.samples_per_second == pytest.approx(1920 / report.seconds)
    assert 1 < len(report.losses) < 120 and report.losses[-1] < report.losses[0]
