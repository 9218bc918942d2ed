"""What became of structures that were trained in earnest."""

from __future__ import annotations

from resnet44 import explored, rounds, told, trial


def test_the_speed_that_was_measured_counts_and_not_the_one_that_was_told() -> None:
    stage, _ = rounds([*explored(), told(4, 3.5, 0.011), trial(5, "full", 2.0, 0.012, 150_000, parent=4)])
    assert stage.prospects.trained.forecast_gain(stage.situation.study.trials[5]) == 2.0
    assert stage.prospects.trained.forecast_gain(trial(6, "full", 2.0, 0.012, 150_000, parent=1)) == 2.48


def test_a_structure_that_training_on_did_not_mend_is_left() -> None:
    """The MLP: a quarter of everything stayed at 3% through three trainings, and a candidate of x2.9 had none."""
    first = trial(4, "full", 2.48, 0.013, 150_000, parent=1)
    for drop, stuck in ((0.0129, True), (0.0135, True), (0.0105, False)):
        later = trial(5, "full", 2.48, drop, 400_000, parent=4)
        stage, _ = rounds([*explored(), first, later])
        assert stage.prospects.trained.is_stuck(later) is stuck and not stage.prospects.trained.is_stuck(first), drop
        chosen, _ = stage.prospects.choose(1.0)
        assert chosen is not None and (chosen.number == 5) is not stuck, (drop, chosen.number)
