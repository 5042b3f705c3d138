"""docs/ builds as a site, strictly: every link leads somewhere, every page is in it, nothing comes from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from tests.test_readme import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", DOCS / "site" / "mkdocs.yml", "-d", folder],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built_and_can_be_reached_from_every_other(site):
    assert sorted(path.stem for path in site.glob("*.html") if path.stem != "404") == PAGES
    for page in PAGES:
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        navigation = re.search(r'<nav class="md-nav md-nav--primary.*?</nav>\s*</div>', text, re.DOTALL)
        assert navigation
        for other in PAGES:
            assert other == page or f'href="{other}.html"' in navigation[0], f"{page} does not lead to {other}"


def test_nothing_is_loaded_from_another_host(site):
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:link|script|img)\b[^>]*?(?:href|src)=\"?(https?://[^\" >]+)", text)
        assert [url for url in loaded if "mkdocs" not in url] == [], page.name


PICTURES = sorted((DOCS / "pictures").glob("*.svg"))


def test_there_are_pictures():
    assert len(PICTURES) >= 3


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_whole_is_shown_and_loads_nothing(picture):
    text = picture.read_text(encoding="utf-8")
    assert ET.fromstring(text).tag.endswith("}svg")
    assert "s3pull" in text
    assert re.findall(r"url\(\"?https?:|href=\"https?:", text) == []
    shown = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert f"(pictures/{picture.name})" in shown


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_pictures_can_be_made_anew(tmp_path):
    made = subprocess.run(
        [sys.executable, DOCS / "site" / "pictures.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [picture.name for picture in PICTURES]
    shown = {path.stem: spoken(path) for path in tmp_path.iterdir()}
    assert "GiB free here" in shown["sync"]
    assert "hint: the same command goes on from here" in shown["resume"]
    assert "1 resumed" in shown["resume"]
    assert re.search(r"[4-9]\d% \|█+", shown["get"])
    assert "1. external-id: " in shown["doctor"]


def spoken(picture):
    """The text of a picture, its lines run together."""
    root = ET.fromstring(picture.read_text(encoding="utf-8"))
    return "".join(root.itertext()).replace("\xa0", " ")
