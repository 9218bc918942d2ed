"""Networks that scikit-learn trained, as `skl2onnx` writes them: the label comes first, in a domain of its own."""

from __future__ import annotations

from pathlib import Path

import onnx_page as page
import pytest
import torch
from other_cases import ACTIVATIONS, FORMS, TRAINED, fitted, linear_layers, model_difference, twin, written

import whet
from whet.graph.axes import analyze


@pytest.mark.parametrize("name", TRAINED)
def test_what_scikit_learn_trained_gives_the_same_as_a_net(name: str, tmp_path: Path) -> None:
    model, x = fitted(name)
    net = whet.lift(written(model, x, tmp_path / "model.onnx"))
    assert model_difference(net, model, x) <= 1e-5
    assert linear_layers(net) == model.n_layers_ - 1
    assert analyze(net).cuttable_share == pytest.approx(analyze(twin(model)).cuttable_share, abs=1e-6)


def test_probabilities_are_the_same_whether_they_go_out_as_a_tensor_or_as_maps(tmp_path: Path) -> None:
    model, x = fitted("two classes")
    maps = whet.lift(written(model, x, tmp_path / "maps.onnx"))
    plain = whet.lift(written(model, x, tmp_path / "plain.onnx", options={"zipmap": False}))
    with torch.no_grad():
        assert torch.equal(maps(torch.from_numpy(x)), plain(torch.from_numpy(x)))


def test_the_docs_have_a_row_for_every_file_of_other_tools() -> None:
    files = [row.split("|")[1].strip() for row in page.written("others").splitlines()[2:]]
    trained = [f"scikit-learn MLP by skl2onnx, {name}" for name in TRAINED]
    quantized = [f"ResNet-20 by `quantize_static`, {form}, {how}" for form in FORMS for how in ACTIVATIONS]
    assert files == trained + quantized, "run: other_cases.py"
    assert "differs" not in page.written("others")
