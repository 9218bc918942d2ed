"""How a delivered file is served: lines to copy, for the folder that the report lies in."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from whet.report.texts import many

if TYPE_CHECKING:
    from whet.report.report import ReportData

RUNTIMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
ALONE = """import sys
sys.path.insert(0, "front/0")
from serve import serve, settings
print([(port["name"], port["shape"], port["dtype"]) for port in settings["inputs"]])
outputs = serve(*arrays)  # one NumPy array an input, of these shapes and types; a list of arrays"""
WHET = """import whet
front = whet.load(".")
outputs = front[0].session()(*arrays)
front[0].save("model")  # copies model.onnx and what lies beside it into a folder"""
SHELL = """whet serve-check front/0{task}  # a fresh process gives what the manifest holds
whet measure front/0 uncompressed/model.onnx  # both files in one race on this machine"""


def serving(data: ReportData) -> list[tuple[str, str]]:
    """Return blocks of lines with what each is; studies from before files had a `serve.py` have those of whet alone."""
    if not data.front:
        return []
    whet, shell = ("In Python, with whet", WHET), ("In a shell", SHELL.format(task=_task(data.command)))
    runtime, precision, threads = data.front[0]["setting"].split("/")
    which = f"{RUNTIMES.get(runtime, runtime)} in {precision} on {many(int(threads), 'thread')}"
    return [(f"In Python, with NumPy and {which}", ALONE), whet, shell] if data.made else [whet]


def _task(command: str) -> str:
    """Return the option of the task, where one of whet's own was asked for in the shell.

    >>> _task("whet optimize --task digits --budget 40s"), _task("train.py")
    (' --task digits', '')
    """
    found = re.search(r"(?<!\S)--task[ =](\S+)", command)
    return f" --task {shlex.quote(found[1])}" if found else ""
