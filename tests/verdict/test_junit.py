"""What a build server reads of a verdict."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from whet.verdict.junit import write_junit
from whet.verdict.limits import Row, Verdict


def test_each_limit_is_a_test_case_and_what_broke_a_failure_with_its_sentence(tmp_path: Path) -> None:
    kept = Row("size", 5e6, 1e6, 1e6, 1e6, "bytes", "on disk")
    broken = Row("accuracy", 0.9, 0.85, 0.85, 0.85, "", "<100> samples & more", least=True)
    write_junit(Verdict("a & b.onnx", "openvino/bf16/1", (kept, broken), {}), tmp_path / "out" / "junit.xml", 1.5)
    suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    assert (suite.tag, suite.get("tests"), suite.get("failures"), suite.get("time")) == ("testsuite", "2", "1", "1.500")
    cases = {case.get("name"): case for case in suite}
    assert cases["size"].find("failure") is None and "a & b.onnx" in str(cases["size"].get("classname"))
    failure = cases["accuracy"].find("failure")
    assert failure is not None
    assert failure.get("message") == "accuracy is 0.8500; at least 0.9000 is allowed (<100> samples & more)"
