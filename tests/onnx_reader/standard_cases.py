"""The ONNX standard's own node tests: `python tests/onnx_reader/standard_cases.py` writes their table to docs/onnx.md.

Each case runs in up to four ways, which differ in what is data and what stands in the file as a constant. `inputs`:
all is data. `data`: floats are data, whole numbers are constants. `weights`: all but the first input are constants, so
that layers are made. `constants`: all is constant, so that everything is folded. A case has passed if one way gives
the expected result and none gives another one; a way may be refused, because what it makes data cannot be.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_page as page
import torch
from onnx import numpy_helper

from whet.core.errors import LiftError
from whet.onnx_reader.example import batch_axes
from whet.onnx_reader.graph import read_graph
from whet.onnx_reader.load import array_of
from whet.onnx_reader.module import OnnxModule, build
from whet.onnx_reader.operators import RANDOM, REFUSED, TRAINING
from whet.onnx_reader.values import DependsOnData, NotRead, array, tensor

WAYS = ("data", "weights", "constants", "inputs")
SPECTRAL = ("DFT", "STFT")
TRAINS = ("test_training_dropout",)
"""Cases that train, of operators that are used without: they do not count as inference."""


@dataclass(frozen=True)
class Case:
    """A model with inputs by name and the outputs that the standard expects; `op` is what it tests."""

    name: str
    op: str
    model: onnx.ModelProto
    names: tuple[str, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    rtol: float
    atol: float


@dataclass
class Verdict:
    """What each way gave: `right`, or why not."""

    case: Case
    ways: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        if any(found.startswith("wrong") for found in self.ways.values()):
            return "wrong"
        return "passed" if "right" in self.ways.values() else "refused"

    @property
    def reason(self) -> str:
        """Why it did not pass: what is wrong, or what the way says that makes least data."""
        found = [text for text in self.ways.values() if text.startswith("wrong")]
        return found[0] if found else self.ways.get("constants") or next(iter(self.ways.values()))


def cases() -> Iterator[Case]:
    """Yield the cases of the `ai.onnx` domain; one that spells an operator out counts to that operator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        found = load_model_tests(kind="node")
    op = ""
    for test in found:
        nodes = test.model.graph.node
        if "_expanded" not in test.name:
            op = nodes[0].op_type if len(nodes) == 1 and nodes[0].domain in ("", "ai.onnx") else ""
        if not op:
            continue
        names = tuple(i.name for i in test.model.graph.input)
        for inputs, outputs in test.data_sets:
            plain, wanted = tuple(map(normal, inputs)), tuple(map(normal, outputs))
            yield Case(test.name, op, test.model, names, plain, wanted, test.rtol, test.atol)


def normal(value: Any) -> Any:
    """Return a test's value as an array, a list of arrays, or None."""
    if value is None:
        return None
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list | tuple):
        return [normal(item) for item in value]
    found = np.asarray(value)
    return found.astype(np.str_) if found.dtype == object else found


# -- running -------------------------------------------------------------------------------------------------------


def is_float(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, np.ndarray) and first.dtype.name in ("float16", "bfloat16", "float32", "float64")


def constant_names(case: Case, way: str) -> set[str] | None:
    """Return which inputs stand in the file as constants; None where the way is the same as another one."""
    if way == "inputs":
        return set()
    if not case.names:
        return None
    if way == "constants":
        return set(case.names)
    if way == "weights":
        return set(case.names[1:]) if len(case.names) > 1 else None
    whole = {name for name, value in zip(case.names, case.inputs) if not is_float(value)}
    return whole if whole and len(whole) < len(case.names) else None


def module_of(case: Case, constants: set[str]) -> OnnxModule:
    """Return the case's network; constants and what else is in the file are its weights."""
    weights = {t.name: array_of(t, case.name) for t in case.model.graph.initializer}
    weights.update((n, copied(v)) for n, v in zip(case.names, case.inputs) if n in constants)
    graph = read_graph(case.model, weights, case.name)
    names = [output.name for output in case.model.graph.output]
    return build(graph, case.name, batch_axes(graph.ports, {}), names)


def copied(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value


def as_data(value: Any) -> Any:
    if isinstance(value, list):
        return [as_data(item) for item in value]
    return None if value is None else tensor(np.array(value))


def data_of(case: Case, constants: set[str]) -> list[Any]:
    return [as_data(value) for name, value in zip(case.names, case.inputs) if name not in constants]


def run(case: Case, way: str) -> str | None:
    """Run a case one way; None where there is no such way."""
    constants = constant_names(case, way)
    if constants is None:
        return None
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = module_of(case, constants)(*data_of(case, constants))
        return compare(case, found)
    except (NotRead, DependsOnData) as error:
        return f"refused: {error}"
    except LiftError as error:
        return f"wrong: {error}"
    except Exception as error:
        return f"wrong: {type(error).__name__}: {error}"


def compare(case: Case, found: Any) -> str:
    results = list(found) if isinstance(found, tuple) else [found]
    if len(results) != len(case.outputs):
        return f"wrong: {len(results)} outputs instead of {len(case.outputs)}"
    for position, (result, wanted) in enumerate(zip(results, case.outputs)):
        problem = difference(result, wanted, case)
        if problem:
            return f"wrong: output {position}: {problem}"
    return "right"


def difference(found: Any, wanted: Any, case: Case) -> str:
    """Return how two values differ, empty where they do not."""
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return f"no sequence of {len(wanted)}"
        return next((text for text in (difference(f, w, case) for f, w in zip(found, wanted)) if text), "")
    if wanted is None or found is None:
        return "" if wanted is found is None else f"{type(found).__name__} instead of {type(wanted).__name__}"
    known = array(found) if isinstance(found, torch.Tensor) else found
    if known.shape != wanted.shape:
        return f"shape {known.shape} instead of {wanted.shape}"
    if wanted.dtype.kind == "U":
        return "" if (known == wanted).all() else "other strings"
    if known.dtype != wanted.dtype:
        return f"type {known.dtype} instead of {wanted.dtype}"
    if wanted.dtype.kind not in "biufc":
        known, wanted = known.astype(np.float32), wanted.astype(np.float32)
        rtol = max(case.rtol, 2**-6)
    else:
        # Two units in the last place of 16 bits; the standard's own runner allows the same for bfloat16.
        rtol = max(case.rtol, 2**-9) if wanted.dtype == np.float16 else case.rtol
    # What a transform rounds is relative to its largest number: a zero in it is as inexact as that.
    atol = max(case.atol, 1e-6 * float(np.abs(wanted).max())) if case.op in SPECTRAL else case.atol
    close = np.isclose(known, wanted, rtol=rtol, atol=atol, equal_nan=wanted.dtype.kind in "fc")
    return "" if close.all() else f"{(~close).sum()} of {close.size} numbers differ"


@cache
def verdicts() -> tuple[Verdict, ...]:
    """Run every case every way."""
    found = []
    for case in cases():
        ways = {way: result for way in WAYS if (result := run(case, way)) is not None}
        found.append(Verdict(case, ways))
    return tuple(found)


# -- the table -----------------------------------------------------------------------------------------------------


def by_operator() -> dict[str, list[Verdict]]:
    """Return the verdicts on each inference operator: not the random ones, and not those that train."""
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts():
        trains = verdict.case.name.startswith(TRAINS) or REFUSED.get(verdict.case.op) in (RANDOM, TRAINING)
        if not trains:
            found.setdefault(verdict.case.op, []).append(verdict)
    return dict(sorted(found.items()))


def passed_share() -> float:
    """Return the share of inference operators of which every case passes."""
    operators = by_operator()
    return sum(all(v.status == "passed" for v in found) for found in operators.values()) / len(operators)


def table() -> str:
    operators = by_operator()
    counts = {s: sum(v.status == s for v in verdicts()) for s in ("passed", "refused", "wrong")}
    whole = [op for op, found in operators.items() if all(v.status == "passed" for v in found)]
    lines = [
        f"Of {len(verdicts())} cases of onnx {onnx.__version__}, {counts['passed']} pass, {counts['refused']} are "
        f"refused, {counts['wrong']} are wrong. Of {len(operators)} inference operators, all cases of {len(whole)} "
        f"pass ({passed_share():.0%}).",
        "",
        "| operator | cases | passed | refused | wrong | why |",
        "|---|---|---|---|---|---|",
    ]
    for op, found in operators.items():
        status = [v.status for v in found]
        failed = [v for v in found if v.status != "passed"]
        why = REFUSED.get(op) or (short(failed[0].reason) if failed else "")
        row = (op, len(found), status.count("passed"), status.count("refused"), status.count("wrong"), why)
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines) + "\n"


def short(reason: str) -> str:
    """Return a reason without the node it happened in."""
    return reason.splitlines()[0].split("): ")[-1].replace("|", "/")[:100]


def main() -> None:
    page.write("standard", table())
    for verdict in verdicts():
        if verdict.status == "wrong":
            print(verdict.case.name, verdict.ways)


if __name__ == "__main__":
    main()
