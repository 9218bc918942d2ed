"""What the pages show works: their Python runs, their commands can be read, and those that are cheap run as well.

A page's blocks run in their order, in one folder that holds the files which they name. A comment in front of a block
says what is done with it: `<!-- run -->` runs commands, which else are read only; `<!-- run: budget 8s -->` runs
commands or Python with that budget in place of the page's; `<!-- not run: REASON -->` leaves Python out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from own_files import Sizes, write_digit_network, write_digits, write_network, write_tokenizer
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from whet import catalogue
from whet.cli.main import app
from whet.cli.shared import recipe_options
from whet.flow.optimize import check_words
from whet.words import listed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- (run|not run)(?:: ([^\n]+?))? -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BUDGET = re.compile(r"(--budget |--seconds |budget=\")[\w.]+")
COMMAND = re.compile(r"(?:\w*\$ +)?whet (.+)")
"""A line with a command, perhaps behind the name of the machine that it is typed on: `board$ whet list`."""
ENDS = {"optimize": (0, 1)}
"""Exit codes of what may find nothing; those of others are 0."""
MOST_LEFT_OUT = 3


@dataclass(frozen=True)
class Block:
    """Code on a page: its language, what is to be done with it and how, and the line that it begins in."""

    mark: str
    how: str
    language: str
    code: str
    line: int

    @property
    def brief(self) -> str:
        """The code, with the budget that is set for it."""
        budget = self.how.partition("budget ")[2]
        return BUDGET.sub(rf"\g<1>{budget}", self.code) if budget else self.code

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of each command of whet's, without its comment."""
        for line in self.brief.replace("\\\n", " ").splitlines():
            if command := COMMAND.match(line):
                yield shlex.split(command[1], comments=True)


def blocks(page: Path) -> list[Block]:
    """Return the blocks of code of a page."""
    text = page.read_text(encoding="utf-8")
    found = BLOCK.finditer(text)
    return [Block(m[1] or "", m[2] or "", m[3], m[4], text.count("\n", 0, m.start()) + 1) for m in found]


def onnx_files(folder: Path) -> None:
    """Write the three files of the page of ONNX: images, tokens, and a stream with a state and a rate."""
    write_digit_network(folder / "model.onnx")
    embed = [helper.make_node("Gather", ["table", "ids"], ["vectors"])]
    write_network(folder / "encoder.onnx", {"ids": ["batch", "length"]}, embed, table=np.ones((9, 4), np.float32))
    nodes = [
        helper.make_node("Cast", ["sr"], ["rate"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["state", "axes"], ["summed"], keepdims=0),
        helper.make_node("Mul", ["summed", "rate"], ["scaled"]),
        helper.make_node("MatMul", ["input", "weight"], ["seen"]),
        helper.make_node("Add", ["seen", "scaled"], ["speech"]),
    ]
    sizes: Sizes = {"input": ["batch", "samples"], "state": [2, "batch", 128], "sr": []}
    write_network(
        folder / "detector.onnx", sizes, nodes, axes=np.array([0]), weight=np.full((576, 128), 0.01, np.float32)
    )


def hugging_face_files(folder: Path) -> None:
    """Write a small language model with its tokenizer, and a text."""
    import transformers as hf

    (folder / "plays.txt").write_text("Tell me, O Muse, of that ingenious hero\n" * 60, encoding="utf-8")
    config = hf.GPT2Config(
        vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    hf.utils.logging.disable_progress_bar()
    hf.GPT2LMHeadModel(config).save_pretrained(folder / "gpt")
    write_tokenizer(folder / "gpt" / "tokenizer.json")


def picture_files(folder: Path) -> None:
    """Write pictures in folders by class, and a network that knows them."""
    write_digits(folder / "pictures", 400)
    write_digit_network(folder / "model.onnx")


FILES: dict[str, Callable[[Path], None]] = {
    "docs/start/onnx.md": picture_files,
    "docs/start/hugging-face.md": hugging_face_files,
    "docs/onnx.md": onnx_files,
}
RUN = [p for p in PAGES[1:] if any(b.mark == "run" or b.language == "python" for b in blocks(p))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_the_page_shows_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    FILES.get(page.relative_to(ROOT).as_posix(), lambda folder: None)(tmp_path)
    for block in blocks(page):
        if block.language == "python" and block.mark != "not run":
            exec(compile(block.brief, f"{page}, block of line {block.line}", "exec"), {"__name__": "__main__"})
        for words in block.commands if block.mark == "run" else ():
            done = CliRunner().invoke(app, words)
            assert done.exit_code in ENDS.get(words[0], (0,)), (words, done.output, done.exception)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_can_be_read(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "run.toml").write_text('task = "digits"\n', encoding="utf-8")
    for block in blocks(page):
        for words in block.commands:
            read(words)


def read(words: list[str]) -> None:
    """Read a command as the command line does, and the words in its options as the search does; raise what is wrong."""
    if words[0] == "compress":
        assert "--int8" in words
        words = ["optimize", *(word for word in words[1:] if word != "--int8")]
    command, rest = get_command(app), words
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, words
        command, rest = command.commands[rest[0]], rest[1:]
    given = command.make_context(words[0], list(rest)).params
    if words[0] == "optimize":
        passes = tuple(listed(given["passes"])) if given["passes"] else ()
        target = "cpu" if "://" in given["target"] else given["target"]  # a machine that a page made up
        check_words(target, given["max_drop"], given["budget"], given["strategy"], passes, None, None, 0)
        recipe_options(given["recipe"])
    if words[0] == "explain":
        catalogue.get(given["name"])


@pytest.mark.parametrize("line", ["optimize --bugdet 9s", "optimise a.onnx", "optimize --passes depht", "explain pas"])
def test_a_command_that_is_wrong_is_not_read(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such option|optimise|depht|pas"):
        read(line.split())


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_roots_pages_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\((?!\w+:|#)([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert not [link for link in links if not (ROOT / link).exists()]


def test_little_is_left_out_and_what_is_has_its_reason() -> None:
    left = [b for page in PAGES for b in blocks(page) if b.mark == "not run"]
    assert len(left) <= MOST_LEFT_OUT and all(len(b.how) > 10 for b in left)
    marks = sum(page.read_text(encoding="utf-8").count("<!-- run") for page in PAGES)
    assert marks == sum(b.mark == "run" for page in PAGES for b in blocks(page)), "a mark without its block"
