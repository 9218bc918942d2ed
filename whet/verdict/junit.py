"""A verdict as JUnit XML, which every build server shows."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from whet.support.files import write_text
from whet.verdict.limits import Verdict


def junit(verdict: Verdict, seconds: float = 0.0) -> str:
    """Return one test suite with a test case a limit; what broke is a failure that says so."""
    suite = ElementTree.Element(
        "testsuite", name="whet check", tests=str(len(verdict.rows)), failures=str(len(verdict.broken)), errors="0",
        time=f"{seconds:.3f}",
    )  # fmt: skip
    for row in verdict.rows:
        case = ElementTree.SubElement(suite, "testcase", classname=f"whet.check.{verdict.file}", name=row.name)
        if not row.passed:
            failure = ElementTree.SubElement(case, "failure", type="limit", message=row.sentence)
            failure.text = f"{row.sentence}, in {verdict.setting}"
        ElementTree.SubElement(case, "system-out").text = f"{row.verdict}: {row.sentence}"
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def write_junit(verdict: Verdict, path: Path, seconds: float = 0.0) -> None:
    """Write the verdict as JUnit XML, whole or not at all."""
    write_text(path, junit(verdict, seconds))
