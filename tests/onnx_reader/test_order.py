"""Nodes in the order in which they can run; where several can, the file's."""

import pytest
from onnx import helper
from onnx_files import info

from whet.core.errors import LiftError
from whet.onnx_reader.order import in_order, read_by


def node(name: str, inputs: list[str], outputs: list[str]) -> object:
    return helper.make_node("Sum", inputs, outputs, name)


def test_an_order_that_fits_stays_and_another_is_sorted_by_the_files_own() -> None:
    a, b, c = node("a", ["x"], ["1"]), node("b", ["1"], ["2"]), node("c", ["x"], ["3"])
    fits = [a, c, b]
    assert in_order(fits, "f") is fits
    assert [n.name for n in in_order([b, c, a], "f")] == ["c", "a", "b"]


def test_what_an_inner_graph_reads_comes_before_the_node_that_runs_it() -> None:
    inner = helper.make_graph([helper.make_node("Neg", ["late"], ["n"])], "g", [], [info("n")])
    branch = helper.make_node("If", ["is"], ["y"], "branch", then_branch=inner, else_branch=inner)
    late = helper.make_node("Relu", ["x"], ["late"], "late")
    assert [n.name for n in in_order([branch, late], "f")] == ["late", "branch"]
    assert {"late", "is", "n"} <= set(read_by([branch]))


def test_a_circle_names_its_first_node() -> None:
    with pytest.raises(LiftError, match=r"f: node 'a' \(Sum\) needs its own result"):
        in_order([node("a", ["2"], ["1"]), node("b", ["1"], ["2"])], "f")
