from __future__ import annotations

import time
import warnings

import onnx_page as page
import pytest
import torch
from standard_cases import (
    REFUSED,
    Case,
    by_operator,
    compare,
    constant_names,
    data_of,
    module_of,
    passed_share,
    table,
    verdicts,
)

from whet.onnx_reader.operators import TABLE

UNTRACED = {"Compress", "NonZero"}
"""Operators whose number of results depends on data: they run, but are not traced into a network of fixed shapes."""


@pytest.mark.slow
def test_no_case_of_the_standard_is_wrong_and_most_operators_pass() -> None:
    start = time.monotonic()
    wrong = {v.case.name: v.reason for v in verdicts() if v.status == "wrong"}
    assert not wrong
    assert len(verdicts()) > 1000
    assert passed_share() >= 0.85
    assert time.monotonic() - start < 180


@pytest.mark.slow
def test_every_operator_of_the_standard_has_a_row_or_a_reason() -> None:
    without = {op for op in by_operator() if op not in TABLE and op not in REFUSED and op != "Constant"}
    assert not without


@pytest.mark.slow
def test_the_table_of_the_docs_is_the_one_of_this_code() -> None:
    assert page.written("standard") == table(), "run: python tests/onnx_reader/standard_cases.py"


def traced() -> list[tuple[Case, str]]:
    """Return for each operator the first case that passes with its floats as data, and the way."""
    found = []
    for op, verdicts_of_one in by_operator().items():
        for verdict in verdicts_of_one:
            ways = [way for way in ("data", "weights", "inputs") if verdict.ways.get(way) == "right"]
            plain = all(not isinstance(value, list) for value in verdict.case.inputs + verdict.case.outputs)
            if ways and plain and op not in UNTRACED:
                found.append((verdict.case, ways[0]))
                break
    return found


@pytest.mark.slow
def test_the_first_case_of_each_operator_survives_torch_export() -> None:
    """What runs must also be traceable: shapes there are known, values are not."""
    failed = {}
    tried = traced()
    assert len(tried) > 120
    for case, way in tried:
        constants = constant_names(case, way) or set()
        inputs = tuple(data_of(case, constants))
        if any(value.dtype.itemsize < 2 and value.is_floating_point() for value in inputs):
            continue  # torch cannot fake all of its own eight-bit floats
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.export(module_of(case, constants), inputs, strict=False)
                result = compare(case, program.module()(*inputs))
        except Exception as error:
            result = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        if result != "right":
            failed[case.name, way] = result
    assert not failed
