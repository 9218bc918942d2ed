"""What was done, in short lines."""

from __future__ import annotations

from whet.report.done import SHOWN, choices, done, places


def change(site: str, kind: str, text: str) -> dict[str, str]:
    return {"site": site, "kind": kind, "text": text}


def test_alike_changes_are_one_line_and_the_kind_is_not_said_twice() -> None:
    found = done(
        [
            change("a.1", "dropped", "branch dropped"), change("a.0.fc", "narrower", "64 to 16 neurons"),
            change("a.2.fc", "narrower", "64 to 16 neurons"), change("stem", "narrower", "8 to 4 channels"),
            change("network", "repaired", "3 layers solved"), change("stem", "int8", "int8"),
            change("stem", "int8", "int8"), change("network", "int8", "int8"),
        ]
    )  # fmt: skip
    assert {each.kind: each.lines for each in found} == {
        "dropped": ("branch dropped: a.1",),
        "narrower": ("64 to 16 neurons: a.{0,2}.fc", "8 to 4 channels: stem"),
        "repaired": ("3 layers solved",),
        "int8": ("stem, network",),
    }
    assert all(each.complete for each in found)


def test_long_lists_are_counted_and_stand_whole_beside_that() -> None:
    names = [f"part{i}.of.a.long.name" for i in range(9)]
    [int8] = done([change(name, "int8", "int8") for name in names])
    assert int8.lines == ("9 layers",) and int8.every == (places(names),)
    assert not int8.complete
    [rank] = done([change(f"x{i}", "lower rank", f"rank {i} of 64") for i in range(SHOWN + 3)])
    assert rank.lines == ("rank 0 of 64: x0", "rank 1 of 64: x1", "rank 2 of 64: x2", "and 4 more")
    assert len(rank.every) == SHOWN + 3


def test_what_was_done_to_the_whole_network_has_no_name() -> None:
    assert done([change("network", "int8", "int8")])[0].lines == ("all layers",)


def test_choices_have_a_line_each() -> None:
    assert choices({"a:width": 0.5, "b:keep": False}) == ["a:width = 0.5", "b:keep = False"] and choices({}) == []
