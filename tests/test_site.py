"""The documentation site: it builds without a warning, and asks for nothing from elsewhere."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
needs_mkdocs = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("mkdocs", "material", "latex2mathml"))),
    reason="mkdocs-material and latex2mathml are not installed: make docs installs them",
)
# What a browser fetches by itself: scripts, style sheets, fonts, pictures, frames.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"' >]+"
    r"|<link\b(?![^>]*\brel=[\"']?canonical)[^>]*\bhref=[\"']?(?:https?:)?//[^\"' >]+"
)
STYLED = re.compile(r"(?:url\(|@import )[\"']?(?:https?:)?//[^\"')]+")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning, a dead link or a dead anchor fails it."""
    out = tmp_path_factory.mktemp("site")
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out))
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@needs_mkdocs
def test_every_page_is_built_and_in_the_menu(site):
    pages = [p.relative_to(ROOT / "docs") for p in (ROOT / "docs").rglob("*.md")]
    menu = (site / "index.html").read_text()
    for page in pages:
        assert (site / page.with_suffix(".html")).exists()
        assert f'href="{page.with_suffix(".html").as_posix()}"' in menu, page


@needs_mkdocs
def test_nothing_is_fetched_from_elsewhere(site):
    html = {p.name: FETCHED.findall(p.read_text()) for p in site.rglob("*.html")}
    css = {p.name: STYLED.findall(p.read_text()) for p in site.rglob("*.css")}
    assert css
    assert {name: found for name, found in {**html, **css}.items() if found} == {}


@needs_mkdocs
def test_formulas_are_drawn(site):
    sources = {p: p.read_text().count("```math\n") for p in (ROOT / "docs").rglob("*.md")}
    assert sum(sources.values()) > 10
    for page, count in sources.items():
        built = site / page.relative_to(ROOT / "docs").with_suffix(".html")
        assert built.read_text().count("<math ") == count


def test_what_is_fetched_is_seen():
    for text in (
        '<script src="https://x.org/a.js">',
        "<link rel=stylesheet href=//fonts.org/a.css>",
        '<img alt="a" src="http://x.org/a.png">',
    ):
        assert FETCHED.search(text)
    assert STYLED.search("@font-face{src:url(https://x.org/a.woff2)}")
    for text in ('<a href="https://x.org">', '<script src="a.js">', '<link rel="x" href="a.css">'):
        assert not FETCHED.search(text)


@needs_mkdocs
def test_pages_that_the_menu_does_not_name_come_last(tmp_path):
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    (tmp_path / "math").mkdir()
    for name in ("index.md", "new.md", "math/step.md"):
        (tmp_path / name).touch()
    assert hooks.rest([{"Start": "index.md"}, {"M": [{"S": "math/step.md"}]}], tmp_path) == [
        {"More": ["new.md"]}
    ]
    assert hooks.rest(["index.md", "new.md", "math/step.md"], tmp_path) == []
