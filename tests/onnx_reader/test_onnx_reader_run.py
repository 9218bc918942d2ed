"""Running steps: values let go when spent, errors with the node in front."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whet.core.errors import LiftError
from whet.onnx_reader.graph import Body, Step
from whet.onnx_reader.run import MOST_KNOWN, Runner
from whet.onnx_reader.values import NotRead

ADD = Step("Add", "sum", ["a", "b"], ["c"])


def test_what_is_spent_is_let_go() -> None:
    values = {"a": torch.ones(2), "b": torch.ones(2)}
    Runner().steps([ADD, Step("Neg", "minus", ["c"], ["d"])], values, {0: ["a", "b"], 1: ["c"]})
    assert set(values) == {"d"} and values["d"].tolist() == [-2, -2]


def test_an_inner_graph_sees_what_is_around_it_and_changes_nothing_there() -> None:
    outer = {"b": torch.ones(2), "c": torch.zeros(2)}
    assert Runner().body(Body(["a"], ["c", ""], [ADD]), [torch.ones(2)], outer)[0].tolist() == [2, 2]
    assert outer["c"].tolist() == [0, 0]


def test_folding_keeps_results_known_and_running_makes_large_ones_data() -> None:
    large = {"a": np.ones(MOST_KNOWN + 1, np.int64), "b": np.ones(1, np.int64)}
    assert isinstance(Runner().step(ADD, large)["c"], torch.Tensor)
    assert isinstance(Runner(folding=True).step(ADD, large)["c"], np.ndarray)
    small = {"a": np.ones(2, np.int64), "b": np.ones(2, np.int64)}
    assert isinstance(Runner().step(ADD, small)["c"], np.ndarray)


def test_errors_name_the_node_and_keep_their_kind() -> None:
    with pytest.raises(NotRead, match=r"node 'odd' \(Frobnicate\): this operator is not read"):
        Runner().step(Step("Frobnicate", "odd", [], []), {})
    with pytest.raises(NotRead, match=r"node 'soft' \(Resize\): mode 'area' is not read"):
        step = Step("Resize", "soft", ["a", "", "b"], ["c"], {"mode": "area"})
        Runner().step(step, {"a": torch.ones(1, 1, 2), "b": np.ones(3, np.float32)})
    with pytest.raises(LiftError, match=r"node 'sum' \(Add\) fails: RuntimeError: The size of tensor a"):
        Runner().step(ADD, {"a": torch.ones(2), "b": torch.ones(3)})
    with pytest.raises(NotRead, match="its output 'mask' is not read"):
        Runner().step(Step("Relu", "r", ["a"], ["c", "mask"]), {"a": torch.ones(2)})
