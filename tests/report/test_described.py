"""What is said of the plots."""

from __future__ import annotations

from dataclasses import replace

from test_report import data

from whet.report.described import sentences


def test_each_plot_has_its_figures_in_a_sentence() -> None:
    said = sentences(replace(data(), drop_unit=(100.0, "%"), limit="1%"))
    assert said["pareto"] == (
        "Plot of drop against speed-up for 5 candidates. The front: x1.60 at drop +0.80%, x1.20 at drop +0.00%. "
        "The limit is 1%."
    )
    assert said["layers"].startswith("Map of what was done to 5 layers. File 0: 2 dropped, 1 narrower and int8, 1 int8")
    assert said["history"] == (
        "Plot over 55 seconds of the number of candidates: 6 candidates, 2 of them verified and the area under the "
        "front, 0.002 at the end."
    )


def test_without_files_that_is_said() -> None:
    assert "No file is on the front." in sentences(replace(data(), front=[], hypervolume=[]))["pareto"]
