"""Targets as data on made-up devices, and each runtime against torch on this one."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, fx, nn

from whet.core.errors import ArtifactError, DecisionError, TargetError, UnknownNameError
from whet.core.net import Net
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.hardware import targets
from whet.hardware.device import Device, fingerprint
from whet.hardware.targets import BF16_FLAGS, RUNTIMES, TARGETS, CpuTarget, every_setting, setting_name

HERE_BF16 = fingerprint().has_any(BF16_FLAGS)
SETTINGS = every_setting()
needs_bf16 = pytest.mark.skipif(not HERE_BF16, reason="the processor has no bf16")


def device(flags: tuple[str, ...] = ("avx2",), cores: int = 4) -> Device:
    return Device("Some CPU", flags, cores, 16, "Linux x86_64", ())


def target(name: str, on: Device) -> CpuTarget:
    return CpuTarget(name, TARGETS[name], on)


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ).eval()  # fmt: skip


class Tokens(nn.Module):
    """Two inputs, one of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens: Tensor, weights: Tensor) -> Tensor:
        return self.head((self.embedding(tokens) * weights.unsqueeze(-1)).sum(1))


def to_onnx(module: nn.Module, example: tuple[Tensor, ...], path: Path, dynamic: bool = True) -> Path:
    names = [f"input{i}" for i in range(len(example))]
    axes = {name: {0: "batch"} for name in names} if dynamic else None
    torch.onnx.export(module, example, str(path), dynamo=False, input_names=names, dynamic_axes=axes)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    module = small_net()
    folder = tmp_path_factory.mktemp("net")
    return module, to_onnx(module, (torch.randn(2, 3, 16, 16),), folder / "model.onnx")


def net_of(module: nn.Module, *example: Tensor) -> Net:
    return Net(fx.symbolic_trace(module.eval()), example)


# -- targets as data -------------------------------------------------------------------------------------


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown target 'openvin-cpu'; did you mean 'openvino-cpu'"):
        targets.get("openvin-cpu")
    with pytest.raises(UnknownNameError, match="unknown runtime 'openvin'; did you mean 'openvino'"):
        settings = {"runtime": "openvin", "precision": "f32", "threads": 1}
        targets.get("cpu").open(Artifact(Path("model.onnx"), settings), 1)


def test_settings_must_be_whole() -> None:
    settings = {"runtime": "openvino", "precision": "f32"}
    with pytest.raises(ArtifactError, match=r"settings of 'model.onnx' lack threads"):
        targets.get("cpu").open(Artifact(Path("model.onnx"), settings), 1)
    with pytest.raises(ArtifactError, match=r"threads must be 1 or more; got 0"):
        targets.get("cpu").open(Artifact(Path("model.onnx"), {**settings, "threads": 0}), 1)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("flags", [("avx2",), ("avx512f", "avx512_bf16"), ("avx512f", "amx_bf16")])
@pytest.mark.parametrize("cores", [1, 2, 6])
def test_the_space_reaches_all_settings_and_no_other(name: str, flags: tuple[str, ...], cores: int) -> None:
    chosen = target(name, device(flags, cores))
    space = chosen.space()
    points = itertools.product(*(choice.values for choice in space))
    decisions = {space.canonical(Decision(dict(zip(space.choices, point)))) for point in points}
    reached = [chosen.settings(decision) for decision in decisions]
    listed = chosen.all_settings()
    assert sorted(map(setting_name, reached)) == sorted(map(setting_name, listed))
    assert len(listed) == len(set(map(setting_name, listed)))
    assert chosen.settings(Decision()) == chosen.settings(space.identity()) == listed[0]


def test_what_devices_offer() -> None:
    plain, bf16 = device(("avx2",), 6), device(("avx512f", "avx512_bf16"), 6)
    assert target("openvino-cpu", plain).space().identity() == Decision({"runtime:threads": 6})
    assert target("openvino-cpu", bf16).settings(Decision())["precision"] == "bf16"
    assert target("inductor-cpu", bf16).settings(Decision())["precision"] == "f32"
    assert target("onnxruntime-cpu", bf16).space().choices.keys() == {"runtime:threads"}
    assert target("cpu", bf16).space().choices["runtime:threads"].values == (1, 2, 4, 6)
    assert len(target("cpu", device(cores=1)).space()) == 1
    names = {setting_name(each) for each in every_setting(device(("avx512f", "avx512_bf16"), 2))}
    assert names == {f"openvino/{p}/{t}" for p in ("bf16", "f32") for t in (1, 2)} | {
        "onnxruntime/f32/1", "onnxruntime/f32/2",
    }  # fmt: skip
    assert (target("cpu", plain).alignment, target("cpu", bf16).alignment) == (8, 16)


@pytest.mark.parametrize("name", TARGETS)
def test_runtimes_of_one_target_share_their_precisions(name: str) -> None:
    """`CpuTarget.space` offers the precisions of the first runtime that has several to all that have."""
    on = device(("avx512f", "avx512_bf16"))
    legal = {RUNTIMES[runtime].legal(on) for runtime in TARGETS[name]}
    assert len({precisions for precisions in legal if len(precisions) > 1}) <= 1


def test_decisions_are_checked_and_other_sites_passed_over() -> None:
    chosen = target("cpu", device(("avx512_bf16",), 2))
    settings = chosen.settings(Decision({"layer1.0:keep": False, "runtime:threads": 1, "conv:bits": 8}))
    assert settings == {"runtime": "openvino", "precision": "bf16", "threads": 1}
    inactive = Decision({"runtime:name": "onnxruntime", "runtime:precision": "bf16"})
    assert chosen.settings(inactive)["precision"] == "f32"
    with pytest.raises(UnknownNameError, match="did you mean 'runtime:threads'"):
        chosen.settings(Decision({"runtime:thread": 1}))
    with pytest.raises(DecisionError, match="got 3"):
        chosen.settings(Decision({"runtime:threads": 3}))


def test_looking_up_a_target_imports_no_runtime() -> None:
    code = (
        "import sys; from whet.hardware import targets; targets.get('cpu').all_settings();"
        "print({'openvino', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_opening_openvino_starts_no_telemetry() -> None:
    code = "import sys, whet.hardware.openvino;print([m for m in sys.modules if m.startswith('openvino_telemetry.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_identity_is_what_openvino_does_unasked(network: tuple[nn.Module, Path]) -> None:
    from whet.hardware.openvino import ov  # without its telemetry

    compiled = ov.Core().compile_model(str(network[1]), "CPU")
    identity = targets.get("openvino-cpu").settings(Decision())
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    assert identity["precision"] == hint
    assert compiled.get_property("INFERENCE_NUM_THREADS") == identity["threads"]
    assert ("BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")) == HERE_BF16


# -- sessions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_name)
@pytest.mark.parametrize("batch", [1, 5])
def test_outputs_are_those_of_torch(network: tuple[nn.Module, Path], settings: dict[str, Any], batch: int) -> None:
    module, path = network
    session = targets.get("cpu").open(Artifact(path, settings), batch)
    inputs = [torch.randn(batch, 3, 16, 16) for _ in range(2)]
    outputs = [session(x.numpy()) for x in inputs]
    tolerance = 2e-2 if settings["precision"] == "bf16" else 1e-5
    for x, output in zip(inputs, outputs):
        expected = module(x).detach().numpy()
        assert output.dtype == np.float32
        np.testing.assert_allclose(output, expected, atol=tolerance * np.abs(expected).max())
    # Both were right after the second call, so the first output was not overwritten by it.
    assert not np.array_equal(*outputs)


@needs_bf16
def test_precision_is_the_one_asked_for(network: tuple[nn.Module, Path]) -> None:
    x = torch.randn(4, 3, 16, 16)
    exact = network[0](x).detach().numpy()
    error = {}
    for precision in ("f32", "bf16"):
        settings = {"runtime": "openvino", "precision": precision, "threads": 1}
        session = targets.get("cpu").open(Artifact(network[1], settings), 4)
        error[precision] = np.abs(session(x.numpy()) - exact).max()
    assert error["bf16"] > 20 * error["f32"]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_integer_and_several_inputs(tmp_path: Path, runtime: str) -> None:
    module = Tokens().eval()
    tokens, weights = torch.randint(0, 11, (3, 6)), torch.rand(3, 6)
    path = to_onnx(module, (tokens[:2], weights[:2]), tmp_path / "model.onnx")
    settings = {"runtime": runtime, "precision": "f32", "threads": 1}
    session = targets.get("cpu").open(Artifact(path, settings), 3)
    expected = module(tokens, weights).detach().numpy()
    np.testing.assert_allclose(session(tokens.numpy(), weights.numpy()), expected, atol=1e-5)
    with pytest.raises(TargetError, match="takes 2 inputs; got 1"):
        session(tokens.numpy())


@pytest.mark.alone
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_one_thread_keeps_one_core_busy_and_two_more(tmp_path: Path, runtime: str) -> None:
    if fingerprint().cores < 2:
        pytest.skip("needs two cores")
    module = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 64, 3, padding=1)).eval()
    path = to_onnx(module, (torch.randn(2, 64, 56, 56),), tmp_path / "model.onnx")

    def busy_cores(threads: int) -> float:
        settings = {"runtime": runtime, "precision": "f32", "threads": threads}
        session = targets.get("cpu").open(Artifact(path, settings), 2)
        x = np.random.default_rng(0).random((2, 64, 56, 56), np.float32)
        session(x)
        most = 0.0
        for _ in range(5):
            wall, used = time.perf_counter(), time.process_time()
            for _ in range(10):
                session(x)
            most = max(most, (time.process_time() - used) / (time.perf_counter() - wall))
        return most

    one, two = busy_cores(1), busy_cores(2)
    assert one < 1.15
    assert two > one + 0.15, "another process may hold the second core, but hardly all of five times"


@pytest.mark.parametrize("settings", SETTINGS[-1:] + SETTINGS[:1], ids=setting_name)
def test_wrong_shapes_are_refused(network: tuple[nn.Module, Path], settings: dict[str, Any]) -> None:
    session = targets.get("cpu").open(Artifact(network[1], settings), 4)
    with pytest.raises(TargetError, match=r"opened for shape \(4, 3, 16, 16\); got \(1, 3, 16, 16\)"):
        session(np.zeros((1, 3, 16, 16), np.float32))


# -- files that do not serve -----------------------------------------------------------------------------

ONNX_RUNTIMES = [SETTINGS[0], SETTINGS[-1]]


def damaged(whole: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "short": whole[:-3],
        "text": b"this is no model\n" * 50,
        "zeros": bytes(1000),
    }[how]


@pytest.mark.parametrize("settings", ONNX_RUNTIMES, ids=setting_name)
@pytest.mark.parametrize("how", ["empty", "half", "short", "text", "zeros"])
def test_damaged_files_are_artifact_errors(
    network: tuple[nn.Module, Path], tmp_path: Path, settings: dict[str, Any], how: str
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(damaged(network[1].read_bytes(), how))
    with pytest.raises(ArtifactError, match=r"broken\.onnx"):
        targets.get("cpu").open(Artifact(path, settings), 1)


@pytest.mark.parametrize("name", ["openvino-cpu", "onnxruntime-cpu", "inductor-cpu"])
def test_missing_files_are_artifact_errors(tmp_path: Path, name: str) -> None:
    chosen = targets.get(name)
    with pytest.raises(ArtifactError, match=r"gone\.onnx' does not exist"):
        chosen.open(Artifact(tmp_path / "gone.onnx", chosen.settings(Decision())), 1)


@pytest.mark.parametrize("settings", ONNX_RUNTIMES, ids=setting_name)
def test_external_weights_must_be_there_in_full(
    network: tuple[nn.Module, Path], tmp_path: Path, settings: dict[str, Any]
) -> None:
    path, side = tmp_path / "model.onnx", tmp_path / "model.data"
    model = onnx.load(str(network[1]))
    onnx.save_model(model, str(path), save_as_external_data=True, location=side.name, size_threshold=0)
    artifact = Artifact(path, settings)
    assert targets.get("cpu").open(artifact, 1)(np.zeros((1, 3, 16, 16), np.float32)).shape == (1, 10)
    side.write_bytes(side.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match=r"model\.data' is truncated"):
        targets.get("cpu").open(artifact, 1)
    side.unlink()
    with pytest.raises(ArtifactError, match=r"model\.data' does not exist"):
        targets.get("cpu").open(artifact, 1)


@pytest.mark.parametrize("settings", ONNX_RUNTIMES, ids=setting_name)
def test_unsupported_operators_are_named(tmp_path: Path, settings: dict[str, Any]) -> None:
    node = onnx.helper.make_node("Frobnicate", ["x"], ["y"], domain="my")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["b", 4]) for name in "xy")
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("my", 1)]
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))
    with pytest.raises(TargetError, match="Frobnicate") as caught:
        targets.get("cpu").open(Artifact(path, settings), 1)
    assert len(str(caught.value).splitlines()) == 1


def test_onnxruntime_names_what_it_cannot_do(tmp_path: Path) -> None:
    path = to_onnx(nn.ReLU(), (torch.randn(2, 4),), tmp_path / "static.onnx", dynamic=False)
    settings = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}
    with pytest.raises(TargetError, match="exported for a batch of 2; asked for 3"):
        targets.get("cpu").open(Artifact(path, settings), 3)
    with pytest.raises(TargetError, match="f32 only on a CPU; got 'bf16'"):
        targets.get("cpu").open(Artifact(path, {**settings, "precision": "bf16"}), 2)


# -- the bar ---------------------------------------------------------------------------------------------


def test_settings_of_one_file_are_measured_side_by_side(network: tuple[nn.Module, Path]) -> None:
    example = (np.zeros((1, 3, 16, 16), np.float32),)
    found = targets.measure_settings(targets.get("cpu"), network[1], SETTINGS, example, rounds=5)
    assert list(found) == [setting_name(each) for each in SETTINGS]
    assert found[setting_name(SETTINGS[0])].ratio == 1.0
    assert all(latency.latency_ms > 0 and latency.rounds == 5 for latency in found.values())


@pytest.mark.parametrize("name", ["openvino-cpu", "onnxruntime-cpu"])
def test_the_bar_is_the_best_of_any_runtime(tmp_path: Path, name: str) -> None:
    net = net_of(small_net(), torch.randn(2, 3, 16, 16))
    bar = targets.baselines(net, targets.get(name), tmp_path, rounds=5)
    assert set(bar.latencies) == {setting_name(each) for each in SETTINGS}
    assert bar.latencies[bar.best].ratio == max(latency.ratio for latency in bar.latencies.values())
    assert setting_name(bar.artifact.settings) == bar.best
    assert bar.artifact.path.parent == tmp_path and bar.artifact.size_bytes > 0
    assert not bar.unfit
    x = torch.randn(2, 3, 16, 16)
    output = targets.get(name).open(bar.artifact, 2)(x.numpy())
    np.testing.assert_allclose(output, net(x).detach().numpy(), atol=2e-2)


def test_a_setting_that_cannot_run_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whet.hardware.onnxruntime import OnnxRuntime

    def refuse(self: Any, path: Path, settings: Any, batch: int, shapes: Any) -> Any:
        raise TargetError("no kernel for Frobnicate")

    monkeypatch.setattr(OnnxRuntime, "open", refuse)
    net = net_of(small_net(), torch.randn(2, 3, 16, 16))
    bar = targets.baselines(net, targets.get("cpu"), tmp_path, rounds=5)
    lost = {setting_name(each) for each in SETTINGS if each["runtime"] == "onnxruntime"}
    assert bar.unfit == dict.fromkeys(lost, "no kernel for Frobnicate")
    assert set(bar.latencies) == {setting_name(each) for each in SETTINGS} - lost
    assert math.isfinite(bar.latencies[bar.best].latency_ms)
