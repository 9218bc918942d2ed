"""The lines that serve a file are Python and shell, and those of what the study delivered."""

from __future__ import annotations

from dataclasses import replace

from test_report import data

from whet.report.served import ALONE, WHET, serving


def test_there_is_a_block_for_each_way_and_the_setting_is_named() -> None:
    given = replace(data(), made={"whet": "0.1.0"}, command="whet optimize --task digits --budget 40s")
    alone, whet, shell = serving(given)
    assert alone == ("In Python, with NumPy and OpenVINO in bf16 on 1 thread", ALONE) and whet[1] == WHET
    assert shell[1].startswith("whet serve-check front/0 --task digits  #")
    assert "whet serve-check front/0  #" in serving(replace(given, command="python mine.py"))[2][1]
    for lines in (ALONE, WHET):
        compile(lines, "copied", "exec")


def test_older_studies_have_no_serve_py_and_without_files_there_is_nothing_to_serve() -> None:
    assert serving(data()) == [("In Python, with whet", WHET)]
    assert serving(replace(data(), front=[])) == []
