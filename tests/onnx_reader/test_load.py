from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_files import SMALL, floats, model_of, saved

import whet
from whet.core.errors import LiftError
from whet.onnx_reader import read
from whet.onnx_reader.load import INLINE_BYTES, load


def linear(*location: tuple[str, str], width: int = 4) -> onnx.ModelProto:
    """A product with a matrix that lies outside the file, where `location` says."""
    model = model_of([helper.make_node("MatMul", ["x", "fc.weight"], ["y"])], {"x": ["batch", width]}, ["y"])
    weight = model.graph.initializer.add(name="fc.weight", data_type=TensorProto.FLOAT, dims=[width, 3])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in location:
        weight.external_data.add(key=key, value=value)
    return model


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    values = floats(4, 3)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"head" + values.tobytes() + b"tail")
    entries = (("location", "sub/w.bin"), ("offset", "4"), ("length", str(values.nbytes)))
    module, _ = read(saved(linear(*entries), tmp_path / "a.onnx"))
    assert torch.equal(module.get_submodule("fc").weight, torch.from_numpy(values.T))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("location", "../w.bin")], "is not inside its folder"),
        ([("location", "/etc/passwd")], "is not inside its folder"),
        ([("location", "sub/../../w.bin")], "is not inside its folder"),
        ([("location", "link.bin")], "is not inside its folder"),
        ([("location", "linked/w.bin")], "is not inside its folder"),
        ([("location", "w\0.bin")], "is not inside its folder"),
        ([], "is not inside its folder"),
        ([("location", "absent.bin")], "do not exist"),
        ([("location", ".")], "do not exist"),
        ([("location", "w.bin"), ("offset", "x")], "no number"),
        ([("location", "w.bin"), ("offset", "40")], "needs 48 bytes; 8 are there"),
        ([("location", "w.bin"), ("offset", "-4")], "is truncated"),
        ([("location", "w.bin"), ("length", "4000")], "is truncated"),
        ([("location", "w.bin"), ("length", "40")], "needs 48 bytes; 40 are there"),
    ],
)
def test_no_path_leads_outside_and_lengths_are_checked(
    entries: list[tuple[str, str]], message: str, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(48))
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "w.bin").write_bytes(bytes(48))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "linked").symlink_to(tmp_path)
    path = saved(linear(*entries), folder / "a.onnx")
    with pytest.raises(LiftError, match=message):
        read(path)


def test_large_weights_are_read_from_the_file_itself(tmp_path: Path) -> None:
    """The same with a matrix above and below the size from which it never passes through the protobuf."""
    for width in (16, INLINE_BYTES // 8):
        values = floats(width, 3)
        node = helper.make_node("MatMul", ["x", "fc.weight"], ["y"])
        model = model_of([node], {"x": ["batch", width]}, ["y"], {"fc.weight": values})
        file = load(saved(model, tmp_path / f"{width}.onnx"))
        assert not file.model.graph.initializer
        assert np.array_equal(file.weights["fc.weight"], values)
        module, (x,) = read(tmp_path / f"{width}.onnx")
        assert torch.allclose(module(x), x @ torch.from_numpy(values), atol=1e-3)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4, TensorProto.BFLOAT16, TensorProto.BOOL])
def test_every_storage_of_large_weights_gives_what_onnx_gives(kind: int, tmp_path: Path) -> None:
    count = 4 * INLINE_BYTES + 1
    bits = 4 if kind in (TensorProto.INT4, TensorProto.UINT4) else 16 if kind == TensorProto.BFLOAT16 else 8
    raw = np.random.default_rng(0).integers(0, 2 if bits == 8 else 256, (count * bits + 7) // 8, dtype=np.uint8)
    tensor = TensorProto(name="t", data_type=kind, dims=[count], raw_data=raw.tobytes())
    model = model_of([helper.make_node("Identity", ["t"], ["y"])], {}, ["y"])
    model.graph.initializer.append(tensor)
    found = load(saved(model, tmp_path / "t.onnx")).weights["t"]
    wanted = onnx.numpy_helper.to_array(tensor)
    assert found.dtype == wanted.dtype and found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", SMALL)
def test_every_truncation_is_an_error(name: str, tmp_path: Path) -> None:
    data = SMALL[name]().SerializeToString()
    for end in range(0, len(data) - 1, max(1, len(data) // 40)):
        (tmp_path / "cut.onnx").write_bytes(data[:end])
        with pytest.raises(LiftError, match=r"cut\.onnx"):
            read(tmp_path / "cut.onnx")


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model, though it has the name of one")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name, message in (("text", "truncated or no ONNX model"), ("empty", "is empty"), ("absent", "does not exist")):
        with pytest.raises(LiftError, match=message):
            whet.lift(tmp_path / f"{name}.onnx")


def recursive() -> onnx.ModelProto:
    """A function that calls itself."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    node = helper.make_node("f", ["x"], ["y"], domain="f")
    model = model_of([node], {"x": ["batch", 2]}, ["y"], domains=("f",))
    again = helper.make_node("f", ["a"], ["b"], domain="f")
    model.functions.append(helper.make_function("f", "f", ["a"], ["b"], [again], imports))
    return model


def doubling(levels: int) -> onnx.ModelProto:
    """Functions that each call the one before twice: a few lines that mean a million."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = [helper.make_function("f", "f0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], imports)]
    for level in range(1, levels):
        calls = [helper.make_node(f"f{level - 1}", [a], [b], domain="f") for a, b in (("a", "c"), ("c", "b"))]
        functions.append(helper.make_function("f", f"f{level}", ["a"], ["b"], calls, imports))
    node = helper.make_node(f"f{levels - 1}", ["x"], ["y"], domain="f")
    model = model_of([node], {"x": ["batch", 2]}, ["y"], domains=("f",))
    model.functions.extend(functions)
    return model


def sized(op: str, size: list[int], **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node(op, ["x", "size"] if op != "ConstantOfShape" else ["size"], ["a"], **attributes)
    nodes = [node, helper.make_node("ReduceSum", ["a"], ["s"]), helper.make_node("Add", ["x", "s"], ["y"])]
    return model_of(nodes, {"x": ["batch", 2]}, ["y"], {"size": np.array(size)})


BOMBS: dict[str, Any] = {
    "recursive": recursive,
    "doubling": lambda: doubling(30),
    "filled": lambda: sized("ConstantOfShape", [1 << 20, 1 << 20]),
    "expanded": lambda: sized("Expand", [1 << 20, 1 << 20, 2]),
    "tiled": lambda: sized("Tile", [1 << 20, 1 << 20]),
    "padded": lambda: sized("Pad", [0, 0, 1 << 20, 1 << 20]),
    "claimed": lambda: claimed([1 << 40, 1 << 20]),
    "negative": lambda: claimed([-1, 4]),
    "dimensions": lambda: claimed([1] * 100),
}


def claimed(dims: list[int]) -> onnx.ModelProto:
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ["batch", 2]}, ["y"])
    model.graph.initializer.append(TensorProto(name="w", data_type=1, dims=dims, raw_data=b"1234"))
    return model


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", BOMBS)
def test_small_files_that_mean_huge_ones_are_errors(name: str, tmp_path: Path) -> None:
    with pytest.raises(LiftError):
        read(saved(BOMBS[name](), tmp_path / "bomb.onnx"))


CHILD = """
import os, sys, time
from whet.bench.peers.harness import peak_memory_mb
import whet.onnx_reader
from whet.onnx_reader import read
read(sys.argv[1])
before = peak_memory_mb(os.getpid())
start = time.monotonic()
import torch
torch.set_num_threads(1)
if sys.argv[3] == "lift":
    import whet
    whet.lift(sys.argv[1], check=False)
    before = peak_memory_mb(os.getpid())
    start = time.monotonic()
    whet.lift(sys.argv[2])
else:
    read(sys.argv[2])
print(peak_memory_mb(os.getpid()) - before, time.monotonic() - start)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["read", "lift"])
def test_a_hundred_megabytes_cost_two_and_a_half_times_that(what: str, tmp_path: Path) -> None:
    width, layers = 2500, 4
    names = [f"fc{i}.weight" for i in range(layers)]
    nodes = [helper.make_node("MatMul", [f"x{i}" if i else "x", n], [f"x{i + 1}"]) for i, n in enumerate(names)]
    weights = {n: floats(width, width, seed=i) / 50 for i, n in enumerate(names)}
    large = saved(model_of(nodes, {"x": ["batch", width]}, [f"x{layers}"], weights), tmp_path / "large.onnx")
    small = saved(SMALL["convolution"](), tmp_path / "small.onnx")
    size = large.stat().st_size
    assert size > 95e6
    command = [sys.executable, "-c", CHILD, str(small), str(large), what]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    grown, seconds = map(float, done.stdout.split())
    assert 0.9 * size <= grown * 2**20 <= 2.5 * size
    assert seconds < 10
