"""HTML pages: one base template, escaped text, no address of a network."""

import re

import jinja2
import pytest
from source_code import ROOT

from kgated.pages.render import render_page

BASE = "pages/base.html"


def templates():
    """The text of each template, by its name for `render_page`."""
    paths = sorted((ROOT / "kgated").rglob("templates/*.html"))
    names = [str(path.relative_to(ROOT / "kgated")).replace("/templates/", "/") for path in paths]
    return {name: path.read_text() for name, path in zip(names, paths, strict=True)}


def base_of(name):
    """The template at the root of what a template extends."""
    parent = re.search(r'{% extends "([^"]+)" %}', templates()[name])
    return name if parent is None else base_of(parent[1])


def test_every_page_extends_the_base_template():
    macros = {name for name, text in templates().items() if "{% macro" in text}
    pages = set(templates()) - macros
    assert len(pages) > 5
    assert {base_of(name) for name in pages} == {BASE}
    assert [name for name, text in templates().items() if "<!doctype" in text] == [BASE]


def test_a_page_begins_with_its_type_and_escapes_its_text():
    page = render_page(BASE, "report", title="<b>")
    assert page.startswith("<!doctype html>\n")
    assert "<title>&lt;b&gt;</title>" in page
    assert not re.search(r"https?:|//", page)


def test_a_missing_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'title' is undefined"):
        render_page(BASE, "report")
