"""The site builds without a warning, and contains every page, name, command and picture."""

import os
import re
import subprocess
import sys

import documents
import pytest
import yaml
from docs_site import cells, commands, reference
from documents import ROOT
from draw_cells import FOLDER, pictures

import kgated

CONFIG = (ROOT / "mkdocs.yml").read_text()
REMOTE = re.compile(
    r"<(?:script|link|img)[^>]+(?:src|href)=\"?(?:https?:)?//[^\">]+", re.IGNORECASE
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    environment = {
        **os.environ,
        "NO_MKDOCS_2_WARNING": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "edge")]),
    }
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    build = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert build.returncode == 0, build.stderr
    return folder


@pytest.mark.slow
def test_the_site_has_every_page_and_the_notebooks(site):
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > 35
    assert not [page for page in pages if not (site / page).with_suffix(".html").is_file()]
    assert len(list(site.glob("tutorials/*.ipynb"))) == 4


@pytest.mark.slow
@pytest.mark.parametrize("package", reference.PACKAGES)
def test_the_reference_has_every_public_name(site, package):
    html = (site / "reference" / reference.file_name(package)).with_suffix(".html").read_text()
    names = [
        n for n in reference.public_names(package) if f"{package}.{n}" not in reference.PACKAGES
    ]
    assert [name for name in names if f'id="{package}.{name}"' not in html] == []


@pytest.mark.slow
def test_nothing_is_fetched_from_another_server(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    remote = {link for page in pages for link in REMOTE.findall(page.read_text())}
    assert {link for link in remote if 'rel="canonical"' not in link} == set()


@pytest.mark.slow
def test_a_dead_link_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[a](missing.md) [b](#nowhere)\n")
    validation = yaml.safe_dump(
        {"validation": yaml.safe_load(_section("validation"))["validation"]}
    )
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nstrict: true\n{validation}")
    command = [sys.executable, "-m", "mkdocs", "build"]
    build = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert build.returncode != 0
    assert "missing.md" in build.stderr
    assert "#nowhere" in build.stderr


def _section(name):
    """A top-level part of mkdocs.yml; as a whole it has tags that a safe reader refuses."""
    return re.search(rf"^{name}:\n(?: .*\n)+", CONFIG, re.MULTILINE).group()


def test_every_public_package_has_a_page_in_the_menu():
    named = (*reference.public_names("kgated"), *kgated.MODULES)
    public = {f"kgated.{n}" for n in named if reference.source(f"kgated.{n}").is_file()}
    assert {f"kgated.{name}" for name in kgated.MODULES} <= public
    assert public <= set(reference.PACKAGES)
    missing = [p for p in reference.PACKAGES if f"reference/{reference.file_name(p)}" not in CONFIG]
    assert missing == []


@pytest.mark.parametrize("package", reference.PACKAGES)
def test_a_page_of_the_reference_has_names_that_exist(package):
    names = reference.public_names(package)
    assert names
    for name in names:
        place, _, own = f"{package}.{name}".rpartition(".")
        if f"{package}.{name}" not in reference.PACKAGES and package in reference.ENTRIES:
            assert own in reference.public_names(place)


def test_the_command_references_have_every_command_and_option():
    workstation, edge = commands.workstation_page(), commands.edge_page()
    for name in ("convert", "train", "tune", "inspect", "data csv", "data wav"):
        assert f"## `kgated {name}`" in workstation
    for option in ("--quantize", "--max-length", "--calibration", "--false-alarms-per-day"):
        assert option in workstation
    for name in ("check", "selftest", "realtime", "live", "events", "generate"):
        assert f"## `kgated-edge {name}`" in edge
    assert "--min-accuracy A" in edge


def test_pictures_of_cells_are_those_that_the_script_draws():
    expected = pictures()
    assert {path.name for path in FOLDER.iterdir()} == set(expected)
    assert [n for n, text in expected.items() if (FOLDER / n).read_text() != text] == []


def test_pictures_have_the_gates_of_the_equations():
    sections = documents.page("docs/concepts/cells.md").split("\n## ")[1:]
    for cell, section in zip(cells.CELLS.values(), sections, strict=False):
        equations = re.search(r"```text\n(.*?)```", section, re.DOTALL).group(1)
        names = set(re.findall(r"(\S+) +=", equations)) - {"c'", "h'"}
        assert {name for name, *_ in cell.gates} == names


def test_light_and_dark_pictures_differ_in_colours_alone():
    for cell in cells.CELLS.values():
        shapes = {re.sub(r"#[0-9a-f]{6}", "", cell.svg(theme)) for theme in ("light", "dark")}
        assert len(shapes) == 1
        assert cell.svg("light") != cell.svg("dark")
