"""Options of the command line: sizes and values of inputs, and where an unexpected error is logged."""

from pathlib import Path

import pytest

from whet.cli import shared
from whet.cli.shared import crash_log, network_of, out_folder, recipe_options, shapes_of, values_of
from whet.core.errors import MethodError, TargetError, UnknownNameError
from whet.flow.folder import OWN
from whet.train.recipe import PRESETS
from whet.train.zeros import GradualPruning


def test_names_may_hold_signs_and_sizes_may_be_none() -> None:
    assert shapes_of(["a=b:0=1X2", "rate="]) == {"a=b:0": (1, 2), "rate": ()}
    assert values_of(["sr=-3", "gain=1e-3"]) == {"sr": -3, "gain": 0.001} and isinstance(values_of(["a=2"])["a"], int)
    assert shapes_of(None) == {} == values_of(None)


@pytest.mark.parametrize("word", ["x=1x0", "x=1xa", "x=1.5"])
def test_sizes_that_are_no_whole_numbers_are_told(word: str) -> None:
    with pytest.raises(TargetError, match=r"sizes are whole numbers above 0, e\.g\. x=1x3x224x224"):
        shapes_of([word])


def test_what_is_no_pair_and_no_number_is_told() -> None:
    with pytest.raises(TargetError, match=r"--shape '1x2' is no NAME=VALUE, e\.g\. input=1x3x224x224"):
        shapes_of(["1x2"])
    with pytest.raises(TargetError, match=r"the value must be a number, e\.g\. sr=16000"):
        values_of(["sr=fast"])


def test_sizes_are_for_onnx_files_alone() -> None:
    with pytest.raises(TargetError, match="are for the inputs of an ONNX file; got 'digits'"):
        network_of("digits", None, None, None, {"x": (1,)})


def test_a_crash_is_logged_in_the_study_once_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "out_folders", [])
    assert out_folder(tmp_path / "run") == tmp_path / "run"
    elsewhere = crash_log()
    assert elsewhere.name.startswith("whet-crash-") and elsewhere.parent != tmp_path / "run"
    elsewhere.unlink()
    (tmp_path / "run" / OWN).mkdir(parents=True)
    assert crash_log() == tmp_path / "run" / OWN / "crash.log"


def test_a_recipe_is_read_with_its_techniques_by_name() -> None:
    assert recipe_options(None) == {}
    assert recipe_options("optimizer='adamw', learning_rate=0.01") == {"optimizer": "adamw", "learning_rate": 0.01}
    given = recipe_options("techniques=('gradual-pruning(share=0.25)',)")["techniques"]
    assert [(type(t), t.share) for t in given] == [(GradualPruning, 0.25)]


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("transformer", {}),
        ("transformer, learning_rate=0.5", {"learning_rate": 0.5}),
        ("transformer,learning_rate=0.5,warmup=0.2", {"learning_rate": 0.5, "warmup": 0.2}),
    ],
)
def test_a_preset_may_come_first(words: str, changes: dict[str, object]) -> None:
    assert recipe_options(words) == {**PRESETS["transformer"], **changes}


def test_a_preset_that_is_misspelt_is_told_its_neighbour() -> None:
    with pytest.raises(MethodError, match=r"unknown preset 'transfomer'; did you mean 'transformer'.*learning_rate=0"):
        recipe_options("transfomer,learning_rate=0.1")


def test_what_a_recipe_does_not_have_is_told() -> None:
    with pytest.raises(MethodError, match="--recipe: unknown field 'learning_rat'; did you mean 'learning_rate'"):
        recipe_options("learning_rat=0.1")
    with pytest.raises(UnknownNameError, match="did you mean 'adamw'"):
        recipe_options("optimizer='adam'")
    with pytest.raises(MethodError, match="'learning_rate' cannot be read"):
        recipe_options("learning_rate")
