"""A release: reproducible, typed, with a bill of materials, and it runs from its wheels."""

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import build_release
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from release.reproducible import normalize_sdist, normalize_wheel
from release.sbom import canonical, closure

ROOT = build_release.ROOT
NAMES = tuple(build_release.DISTRIBUTIONS)
MODEL = ROOT / "tests" / "edge" / "fixtures" / "speech.tflite"
pytestmark = pytest.mark.slow


def built(folder):
    folder.mkdir()
    return [path for name in NAMES for path in build_release.build(name, folder, 1_700_000_000)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """wheel and sdist of each distribution, by name of the file."""
    return {path.name: path for path in built(tmp_path_factory.mktemp("first") / "dist")}


@pytest.fixture(scope="module")
def wheels(files):
    return {p.name.split("-")[0]: p for p in files.values() if p.suffix == ".whl"}


def test_two_builds_give_the_same_bytes(files, tmp_path):
    before = os.umask(0o077)  # what a build must not depend on
    try:
        again = built(tmp_path / "dist")
    finally:
        os.umask(before)
    assert len(again) == 4
    assert [p.name for p in again if p.read_bytes() != files[p.name].read_bytes()] == []


def test_twine_accepts_all_files(files):
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files.values())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("PASSED") == 4


def package_files(folder):
    """All files of a package but what Python leaves there: modules, templates, web pages."""
    paths = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return [p for p in paths if not p.name.startswith(".")]


def test_package_files_are_more_than_modules():
    suffixes = {path.suffix for path in package_files(ROOT / "kgated")}
    assert {".py", ".html", ".css", ".js", ".ts", ".j2"} <= suffixes


@pytest.mark.parametrize("package", ["kgated", "kgated_edge"])
def test_a_wheel_is_typed_licensed_and_complete(wheels, package):
    with zipfile.ZipFile(wheels[package]) as wheel:
        names = wheel.namelist()
    base = ROOT / ("edge" if package == "kgated_edge" else "")
    sources = {str(p.relative_to(base)) for p in package_files(base / package)}
    assert len(sources) > 50
    assert sources <= set(names)
    if package == "kgated":
        assert {"kgated/web/assets/kgated/kgated.d.ts", "kgated_cli/app.py"} <= set(names)
    assert f"{package}/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "test" in name.split("/")[0] or "__pycache__" in name]


@pytest.mark.parametrize("package", ["kgated", "kgated_edge"])
def test_the_record_of_a_wheel_has_the_digest_of_every_member(wheels, package):
    with zipfile.ZipFile(wheels[package]) as wheel:
        record = next(n for n in wheel.namelist() if n.endswith("/RECORD"))
        rows = {
            name: digest for name, digest, _ in csv.reader(io.StringIO(wheel.read(record).decode()))
        }
        assert set(rows) == set(wheel.namelist())
        for name in set(rows) - {record}:
            digest = base64.urlsafe_b64encode(hashlib.sha256(wheel.read(name)).digest())
            assert rows[name] == f"sha256={digest.rstrip(b'=').decode()}"


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_has_a_valid_bill_of_what_it_needs(wheels, name):
    with zipfile.ZipFile(wheels[name.replace("-", "_")]) as wheel:
        (path,) = [n for n in wheel.namelist() if n.endswith(f".dist-info/sboms/{name}.cdx.json")]
        text = wheel.read(path).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert bill["metadata"]["component"]["name"] == name
    assert bill["metadata"]["component"]["version"] == version(name)
    listed = {canonical(c["name"]): c["version"] for c in bill["components"]}
    direct = [Requirement(r) for r in requires(name) if "extra" not in r]
    assert {canonical(r.name) for r in direct} <= set(listed)
    assert listed == {k: d.version for k, d in closure(name).items() if k != name}


def test_an_installed_wheel_runs_a_model_and_the_commands(wheels, tmp_path):
    """Without the checkout on the path; dependencies are those of this environment."""
    target = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
    subprocess.run([*command, *map(str, wheels.values())], check=True, timeout=300)
    environment = {**os.environ, "PYTHONPATH": str(target), "TF_CPP_MIN_LOG_LEVEL": "3"}

    def run(*words):
        program = [sys.executable, "-m", *words]
        done = subprocess.run(
            program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "PASS" in run("kgated_edge", "selftest", str(MODEL))
    assert version("kgated") in run("kgated_cli", "--version")
    assert "step" in run("kgated_cli", "inspect", str(MODEL))
    shutil.copy(MODEL, tmp_path / "model.tflite")
    run("kgated_cli", "keygen", "release.key")
    assert "signed by" in run("kgated_cli", "sign", "model.tflite", "--key", "release.key")
    assert "PASS" in run(
        *("kgated_edge", "selftest", "model.tflite", "--require-key", "release.key.pub")
    )
    place = "import kgated, kgated_edge, kgated_cli; print(kgated.__file__, kgated_edge.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", place],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(path.startswith(str(target)) for path in done.stdout.split())


def test_the_sdist_of_the_runner_installs_and_runs(files, tmp_path):
    """Built from the source archive alone; dependencies are those of this environment."""
    (sdist,) = (path for name, path in files.items() if re.match(r"kgated_edge.*\.tar\.gz", name))
    target = tmp_path / "installed"
    options = ["-q", "--no-deps", "--no-build-isolation", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", *options, str(sdist)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    code = "import kgated_edge; print(kgated_edge.__file__)"
    words = ([sys.executable, "-c", code], [sys.executable, "-m", "kgated_edge", "selftest", MODEL])
    place, result = (
        subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for command in words
    )
    assert place.startswith(str(target))
    assert "PASS" in result


def test_normalizing_removes_times_owners_and_order(tmp_path):
    """Two archives of the same content, made at other times and in another order."""
    for n in (0, 1):
        with zipfile.ZipFile(tmp_path / f"{n}.whl", "w") as wheel:
            for name in [("a.py", "b.py"), ("b.py", "a.py")][n]:
                wheel.writestr(zipfile.ZipInfo(name, (2000 + n, 1, 1, 0, 0, 0)), name)
            wheel.writestr("x.dist-info/RECORD", "")
        with tarfile.open(tmp_path / f"{n}.tar.gz", "w:gz") as sdist:
            member = tarfile.TarInfo("a.py")
            member.size, member.mtime, member.uid, member.mode = 1, n, n, [0o644, 0o664][n]
            sdist.addfile(member, io.BytesIO(b"a"))
        normalize_wheel(tmp_path / f"{n}.whl", 0, {"sboms/x.json": b"{}"})
        normalize_sdist(tmp_path / f"{n}.tar.gz", 0)
    for kind in ("whl", "tar.gz"):
        assert (tmp_path / f"0.{kind}").read_bytes() == (tmp_path / f"1.{kind}").read_bytes()
    with zipfile.ZipFile(tmp_path / "0.whl") as wheel:
        assert "x.dist-info/sboms/x.json,sha256=" in wheel.read("x.dist-info/RECORD").decode()


def test_the_citation_is_valid_and_has_the_version_of_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    # What version 1.2.0 of the format requires, and the keys it knows of those used here.
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert set(citation) <= {
        *("cff-version", "message", "title", "authors", "type", "abstract", "version"),
        *("date-released", "license", "keywords"),
    }
    assert all(set(author) == {"name"} for author in citation["authors"])
    assert citation["type"] == "software"
    assert build_release.release_epoch() > 1_700_000_000


def test_both_distributions_have_one_version_and_the_changelog_has_it():
    versions = {
        tomllib.loads(Path(ROOT, folder, "pyproject.toml").read_text())["project"]["version"]
        for folder in ("", "edge")
    }
    (number,) = versions
    assert f"## [{number}]" in (ROOT / "CHANGELOG.md").read_text()
