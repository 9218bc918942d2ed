"""The main request on the digits network, end to end, and what happens to it when it is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import killable
import pytest
import torch
from quick import made
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.core.errors import ArtifactError, StudyError, TaskError, UnknownNameError
from whet.core.study import Study
from whet.core.target import Artifact
from whet.flow.deliver import Delivery
from whet.flow.delivered import DeliveredFront
from whet.flow.folder import recorded
from whet.flow.optimize import optimize
from whet.hardware.guard import Guarded
from whet.schedule.actions import Actions
from whet.schedule.exploring import Exploring
from whet.schedule.hopes import Hopes
from whet.schedule.rounds import Rounds
from whet.schedule.untouched import finish_untouched
from whet.verify.manifest import check_files, read_manifest


def nothing(self: Rounds) -> Actions[None]:
    yield from ()


MOMENTS = ("probing ", "training · step", "verifying ", "delivering: the files")
"""What a search says as it begins to measure a candidate, to train, to write a file and judge it, and to deliver."""
KILLS = int(os.environ.get("WHET_KILLS", str(len(MOMENTS))))
"""How often a search is killed: at each of the moments, and then at each again if it comes to it."""


CRASH = Guarded._crash
"""How files are tried in a process of their own, which other tests leave out."""


@pytest.fixture(scope="module")
def run(digits: tuple[whet.Net, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeliveredFront]:
    net, bundle = digits
    before = net.module.state_dict()
    before = {k: v.clone() for k, v in before.items()}
    out = tmp_path_factory.mktemp("runs") / "digits"
    tried: list[dict[str, Any]] = []

    def guarded(self: Guarded, order: dict[str, Any]) -> str | None:
        tried.append(order)
        return CRASH(self, order)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Guarded, "_crash", guarded)
        start = time.monotonic()
        front = optimize(net, bundle.task, max_drop="3%", budget="30s", trials=3, out=out, recipe=bundle.recipe)
        # Two test processes are slower than one alone; where many wait for a core, seconds say nothing of the search.
        crowded = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
        assert crowded or time.monotonic() - start < 30 * 1.4
    assert tried, "a runtime that crashes would have taken the search along"
    assert all(torch.equal(v, before[k]) for k, v in net.module.state_dict().items())
    yield front


def test_front_holds_files_verified_in_their_runtime(run: DeliveredFront) -> None:
    assert run.members
    fastest = run.fastest()
    assert fastest is not None and fastest.speedup == max(m.speedup for m in run.members)
    for rank, member in enumerate(run.members):
        manifest = check_files(run.folder / "front" / str(rank))
        assert manifest["decision"] == member.decision
        figures = manifest["figures"]
        assert figures["accuracy_val"]["value"] >= run.reference - 0.03 - 1e-9
        assert 0.8 < figures["accuracy_test"]["value"] <= 1.0
        assert all({"value", "unit", "protocol", "device", "how"} == set(f) for f in figures.values())
    assert run.report.stat().st_size > 1_000_000
    assert fastest.speedup >= 1.0 and run.met == any(m.speedup_low > 1 for m in run.members if m.number >= 0)
    assert ("faster than the best uncompressed" in run.conclusion) == run.met


def test_a_member_is_saved_whole_and_a_changed_file_is_refused(run: DeliveredFront, tmp_path: Path) -> None:
    member = run.fastest()
    assert member is not None
    model = member.save(tmp_path / "model")
    assert model.exists() and check_files(model.parent)["decision"] == member.decision
    damaged = replace(member, delivered=str(tmp_path / "model"))
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        damaged.save(tmp_path / "other")
    with pytest.raises(ArtifactError, match="broke a limit"):
        replace(member, delivered="").save(tmp_path / "other")


def test_same_call_resumes_and_touches_the_test_data_no_more(
    run: DeliveredFront, digits: tuple[whet.Net, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = digits

    def test(self: Delivery, artifact: Artifact) -> float:
        if "trials" in artifact.path.parts:
            pytest.fail("test data were read again")
        return 0.0

    monkeypatch.setattr(Delivery, "test", test)
    monkeypatch.setattr(Rounds, "run", nothing)
    again = optimize(net, bundle.task, max_drop="3%", budget="30s", trials=3, out=run.folder, recipe=bundle.recipe)
    before = {m.number: m.test for m in run.members if m.number >= 0}
    assert all(before.get(m.number, m.test) == m.test for m in again.members)  # another race, perhaps another front


def test_another_task_or_seed_in_the_same_folder_is_refused(run: DeliveredFront, digits: tuple[whet.Net, Any]) -> None:
    net, bundle = digits
    with pytest.raises(StudyError, match="seed was 0, now 1"):
        optimize(net, bundle.task, max_drop="3%", budget="30s", trials=3, out=run.folder, seed=1, recipe=bundle.recipe)


def test_ctrl_c_delivers_the_front_so_far(
    digits: tuple[whet.Net, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = digits

    def interrupt(self: Hopes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Hopes, "run", interrupt)
    front = optimize(net, bundle.task, max_drop="3%", budget="60s", out=tmp_path / "r", recipe=bundle.recipe)
    # Which is quickest, all layers, some or none in int8, is the machine's to say.
    assert {c.partition(":")[2] for m in front.members for c in m.decision} <= {"int8", "bits"}
    assert [json.loads(t[2]) for t in trials_of(tmp_path / "r")] == [{"network:int8": "all"}]
    assert read_manifest(tmp_path / "r" / "front" / "0")["network"] == "digits_cnn"
    told = recorded(tmp_path / "r", "report")
    assert told["ended"]["interrupted"] and 0 < told["front"][0]["parameters"] <= net.parameter_count


def test_a_limit_that_nobody_meets_shows_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, task = made()
    monkeypatch.setattr(Exploring, "run", lambda self: finish_untouched(self.situation))
    monkeypatch.setattr(Rounds, "run", nothing)
    front = optimize(net, replace(task, metric=_Falling()), max_drop="1%", epochs=0.1, out=tmp_path / "r")
    assert not front.met and [m.number for m in front.members] == [-1]
    assert front.nearest is not None and front.nearest.drop > 0.01
    assert "No candidate stayed within a drop of 1%" in front.conclusion


class _Falling:
    """A metric that finds each further file worse."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        self.calls += 1
        return 1.0 - 0.1 * self.calls


def test_wrong_names_and_data_are_told_at_the_edge(digits: tuple[whet.Net, Any], tmp_path: Path) -> None:
    net, bundle = digits
    for options, message in (
        ({"target": "openvin-cpu"}, "did you mean 'openvino-cpu'"),
        ({"passes": ("dept",)}, "did you mean 'depth'"),
        ({"strategy": "tpee"}, "did you mean 'tpe'"),
    ):
        with pytest.raises(UnknownNameError, match=message):
            optimize(net, bundle.task, out=tmp_path / "r", budget="9s", **options)
    with pytest.raises(TaskError, match="no validation data"):
        whet.Task("mine", train=[], val=[], loss=functional.cross_entropy, metric=whet.accuracy)


def test_a_network_without_anything_to_cut_is_still_quantized(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 1, 8, 8)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    task = whet.Task(
        "flat", train=[(x, x.new_zeros(64).long())], val=[(x, module(x).argmax(1))], loss=functional.cross_entropy,
        metric=whet.accuracy,
    )  # fmt: skip
    front = optimize(whet.lift(module, x[:2]), task, max_drop="20%", budget="12s", out=tmp_path / "r")
    assert front.nearest is not None or front.members


def test_int8_alone_within_the_limit_ends_the_search_long_before_its_budget(
    digits: tuple[whet.Net, Any], tmp_path: Path
) -> None:
    net, bundle = digits
    start = time.monotonic()
    front = optimize(net, bundle.task, max_drop="5%", budget="1h", out=tmp_path / "r", passes=("quantize",))
    assert time.monotonic() - start < 120
    # Which is quickest, all layers, some or none in int8, is the machine's to say.
    assert {c.partition(":")[2] for m in front.members for c in m.decision} <= {"int8", "bits"}


def trials_of(out: Path, config: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    import optuna

    study = optuna.load_study(study_name="whet", storage=f"sqlite:///{out / 'study.db'}")
    records = [json.loads(t.user_attrs["trial"]) for t in study.trials]
    return [(r["number"], r["stage"], json.dumps(r["decision"]), r["quality"], r["samples"]) for r in records]


class Searches:
    """Searches in copies of one process, one at a time."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(killable.__file__))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.source = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8", env=environment)
        assert self.source.stdin is not None and self.source.stdout is not None
        self.orders, self.answers = self.source.stdin, self.source.stdout

    def __enter__(self) -> Searches:
        return self

    def __exit__(self, *error: object) -> None:
        self.source.kill()
        self.source.communicate()

    def begin(self, out: Path) -> int:
        """Begin a search or go on with it, and return the number of its process."""
        self.orders.write(f"{out}\n")
        self.orders.flush()
        return int(self.answers.readline())

    def ended(self) -> int:
        """Wait for the end of the search, and return its exit code."""
        return int(self.answers.readline())


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def reached(moment: str, process: int, out: Path) -> bool:
    """Wait until a search says that it is there, and return whether it did before it ended."""
    while (going := runs(process)) and moment not in killable.told(out).read_text(encoding="utf-8"):
        time.sleep(0.01)
    return going or moment in killable.told(out).read_text(encoding="utf-8")


def test_killed_anywhere_it_ends_with_the_same_trials(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # What is killed comes from another process than what is not: the order of sets of words differs between them.
    with Searches() as undisturbed:
        undisturbed.begin(whole)
        assert undisturbed.ended() == 0, killable.told(whole).read_text(encoding="utf-8")
    said = killable.told(whole).read_text(encoding="utf-8")
    assert all(moment in said for moment in MOMENTS), said
    expected = trials_of(whole)
    rng = random.Random(0)
    with Searches() as disturbed:
        for index in range(KILLS):
            process = disturbed.begin(killed)
            assert reached(MOMENTS[index % len(MOMENTS)], process, killed) or index >= len(MOMENTS)
            time.sleep(rng.uniform(0.0, 0.5))
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            disturbed.ended()
            found = trials_of(killed) if (killed / "study.db").exists() else []
            assert found == expected[: len(found)]
        disturbed.begin(killed)
        assert disturbed.ended() == 0, killable.told(killed).read_text(encoding="utf-8")
    assert trials_of(killed) == expected


def test_study_is_opened_by_its_own_config_only(tmp_path: Path) -> None:
    Study.in_folder(tmp_path, {"a": 1}, whet.Space())
    with pytest.raises(StudyError, match="a was 1, now 2"):
        Study.in_folder(tmp_path, {"a": 2}, whet.Space())


FULL = """
import sys, whet
from whet import tasks
from whet.core.errors import StudyError
from whet.flow import baseline, files, mixing
from whet.hardware import measure
from whet.hardware.guard import Guarded
baseline.BASELINE_SECONDS, files.CANDIDATE_SECONDS, files.FINISHED_SECONDS = 0.5, 0.1, 0.15
measure.timed.__kwdefaults__["burst_seconds"], measure.WARM_SECONDS, mixing.RACED_SECONDS = 0.004, 0.002, 0.1
Guarded._crash = lambda self, order: None
Guarded.begin = lambda self: None
bundle = tasks.get("digits")
net = whet.lift(*bundle.trained(), name="digits_cnn")
try:
    whet.optimize(net, bundle.task, max_drop="5%", budget="40s", out=sys.argv[1], recipe=bundle.recipe)
except StudyError as error:
    print("refused:", error)
"""


def test_a_full_disk_is_said_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "full.py").write_text(FULL, encoding="utf-8")
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    small = f"mount -t tmpfs -o size=1m tmpfs {disk}"
    inside = f"{small} && {sys.executable} {tmp_path}/full.py {disk}/run && ls {disk}/run"
    try:
        subprocess.run([*mount, small], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount a small disk")
    found = subprocess.run([*mount, inside], capture_output=True, text=True, check=False)
    assert "is full. What was finished is safe in it" in found.stdout, found.stdout + found.stderr
    assert "study.db" in found.stdout
