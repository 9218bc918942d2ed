"""A hook of MkDocs: what the site has beside `docs`, and links that hold on the site as they do in the repository.

The root's pages and the tables of `benchmarks/results` become pages. A link is written for the repository; where it
leads to something that has a place on the site, it is turned to lead there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
RESULTS, TABLES = "benchmarks/results", "results/index.md"
WHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/github-actions.yml": "examples/github-actions.yml",
    RESULTS: TABLES,
}
"""Paths in the repository and on the site; those below `docs` and `benchmarks/results` follow from their names."""
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie in `docs`."""
    for path, uri in list(WHERE.items())[1:4]:
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    tables = sorted(p for p in (ROOT / RESULTS).iterdir() if p.suffix in (".md", ".png"))
    for path in tables:
        files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    files.append(File.generated(config, TABLES, content=contents([p for p in tables if p.suffix == ".md"])))
    return files


def contents(tables: list[Path]) -> str:
    """Return a page that leads to all tables, by name."""
    lines = "".join(f"- [{path.stem}]({path.name})\n" for path in tables)
    return f"# Tables\nWhat was measured, as the commands in [Measured](../measured.md) wrote it.\n\n{lines}"


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links to files of the repository into links to their pages; pages without sections have no list of them."""
    uri = page.file.src_uri
    if not re.search(r"^(##|:::) ", markdown, flags=re.MULTILINE):
        page.meta["hide"] = ["toc"]
    if uri == TABLES:
        return markdown
    source = posixpath.dirname(source_of(uri))

    def turned(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(source, match[1]))
        place = place_of(path)
        return match[1] if place is None else posixpath.relpath(place, posixpath.dirname(uri) or ".")

    return LINK.sub(turned, markdown)


def source_of(uri: str) -> str:
    """Return the path in the repository of what a page was made of."""
    if uri.startswith("results/"):
        return f"{RESULTS}/{posixpath.basename(uri)}"
    return next((path for path, place in list(WHERE.items())[1:] if place == uri), f"docs/{uri}")


def place_of(path: str) -> str | None:
    """Return where on the site a file of the repository is, if it is there."""
    for folder, place in (("docs/", ""), (f"{RESULTS}/", "results/")):
        if path.startswith(folder):
            return place + path.removeprefix(folder)
    return WHERE.get(path)
