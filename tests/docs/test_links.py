"""Relative links and anchors of the documentation."""

import pytest
from documents import PAGES, ROOT, anchors, links


def broken(page):
    """Links of a page whose file or anchor does not exist."""
    missing = []
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page if not path else page.parent / path
        # The anchor of a picture is the theme that it is for.
        known = ("only-light", "only-dark") if target.suffix in (".svg", ".png") else None
        if not target.exists() or (anchor and anchor not in (known or anchors(target.read_text()))):
            missing.append(link)
    return missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_exist(page):
    assert not broken(page)


def test_a_missing_file_or_anchor_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](#a-title) [b](#no-title) [c](no.md) [d](page.md#none)")
    assert broken(page) == ["#no-title", "no.md", "page.md#none"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_page_is_linked_from_readme_or_from_a_page_it_links(page):
    first = [ROOT / link.partition("#")[0] for link in links((ROOT / "README.md").read_text())]
    pages = [path for path in first if path.suffix == ".md"]
    second = [
        linking.parent / link.partition("#")[0]
        for linking in pages
        for link in links(linking.read_text())
    ]
    assert page in {path.resolve() for path in [*first, *second]}


def test_guides_link_to_the_glossary():
    guides = [
        page for page in (ROOT / "docs").glob("*.md") if page.stem not in ("accuracy", "glossary")
    ]
    assert [page.name for page in guides if "](glossary.md)" not in page.read_text()] == []


def test_guides_hold_no_measured_tables():
    """Measured tables have a column with a unit of time or size; they have pages of their own."""
    for page in (ROOT / "docs").glob("*.md"):
        if page.stem not in ("benchmarks", "accuracy", "results"):
            heads = [line for line in page.read_text().splitlines() if line.startswith("|")]
            assert not [line for line in heads if "µs" in line or "KiB" in line], page.name
