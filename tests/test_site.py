"""The site: it builds without a warning, names what is public, needs nobody else's server and fits a telephone."""

from __future__ import annotations

import functools
import http.server
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import whet

ROOT = Path(__file__).parents[1]
NARROW, WIDE = 390, 1280
"""Pixels: a telephone and a small computer."""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
LOOK = """<!doctype html><script>
const found = {}, asked = %s;
async function look([page, width]) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 800; frame.src = page;
  await new Promise(done => { frame.onload = done; document.body.append(frame); });
  const {scrollWidth, clientWidth} = frame.contentDocument.documentElement;
  found[page + " at " + width] = [scrollWidth, clientWidth];
  frame.remove();
}
async function several() { while (asked.length) await look(asked.pop()); }
onload = async () => {
  await Promise.all([several(), several(), several()]);
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
};
</script><body>"""
"""A page that opens others in frames of a width, and tells how wide each is with all in it, and how wide it may be."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, built as `make docs` builds it."""
    place = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, and keeps what is posted to it."""

    def __init__(self, folder: Path) -> None:
        self.told: queue.Queue[dict[str, list[int]]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))

    @property
    def address(self) -> str:
        """Where it is found."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Answers one request."""

    server: Server

    def do_POST(self) -> None:
        """Keep what is told."""
        self.server.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *given: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(site: Path) -> Iterator[Server]:
    """Serve the site while a test runs."""
    with Server(site) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    pages = "".join((site / "api" / name).read_text(encoding="utf-8") for name in ("index.html", "core.html"))
    anchors = set(re.findall(r'id="(whet\.[\w.]+)"', pages))
    public = {getattr(whet, name) for name in whet.__all__}
    assert {f"{item.__module__}.{item.__qualname__}" for item in public} <= anchors
    modules = {f"whet.core.{path.stem}" for path in (ROOT / "whet" / "core").glob("[a-z]*.py")}
    assert {module for module in modules if not any(a.startswith(f"{module}.") for a in anchors)} == set()
    assert "&gt;&gt;&gt;" in pages and "<blockquote>" not in pages, "examples are code, not quotes"


def test_pages_of_the_repository_are_there_and_all_are_found_from_the_menu(site: Path) -> None:
    for name, words in (("contributing", "A strategy"), ("changelog", "Unreleased"), ("measured", "Half of")):
        assert words in (site / f"{name}.html").read_text(encoding="utf-8")
    menu = (site / "index.html").read_text(encoding="utf-8")
    apart = ("results/", "404")
    missing = [page for page in pages_of(site) if f'href="{page}"' not in menu and not page.startswith(apart)]
    assert not missing, "put them into the nav of mkdocs.yml"


def test_it_needs_nothing_from_elsewhere(site: Path) -> None:
    for page in pages_of(site):
        text = (site / page).read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|link rel=\"stylesheet\")[^>]+(?:src|href)=\"?https?:", text), page


def test_no_page_is_wider_than_the_screen(site: Path, server: Server, tmp_path: Path) -> None:
    pages = [page for page in pages_of(site) if page != "404.html"]
    asked = [(f"/{page}", NARROW) for page in pages]
    asked += [(f"/{page}", WIDE) for page in pages if not page.startswith("results/")]
    (site / "look.html").write_text(LOOK % json.dumps(asked), encoding="utf-8")
    words = [browser(), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0"]
    with (tmp_path / "said").open("w") as said:
        looking = subprocess.Popen([*words, f"{server.address}/look.html"], stdout=said, stderr=said)
    try:
        found = server.told.get(timeout=120)
    except queue.Empty:
        pytest.fail((tmp_path / "said").read_text(encoding="utf-8", errors="replace")[-2000:])
    finally:
        looking.terminate()
        looking.wait(30)
    assert len(found) == len(asked)
    assert not {place: widths for place, widths in found.items() if widths[0] > widths[1]}


def pages_of(site: Path) -> list[str]:
    """Return all pages, by their paths within the site."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if path.name != "look.html")


def browser() -> str:
    """Return a browser's command; where there is none the test is skipped, but not in CI."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        why = "no browser: install chromium (Debian: apt-get install chromium) to have the site looked at in one"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    return found
