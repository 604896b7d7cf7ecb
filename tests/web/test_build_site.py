"""`kgated web`: the written files; a refusal is one sentence and writes nothing."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from kgated_edge.errors import ManifestError
from kgated_edge.format.reader import read_model
from kgated_edge.format.vocabulary import Vocabulary
from typer.testing import CliRunner

from kgated.deploy.manifest_writer import embed
from kgated.deploy.tflite.flatbuffer import pack, parse
from kgated.web import build_site, litert_js
from kgated_cli.app import app, main

PARTS = dict.fromkeys(litert_js.WASM_FILES, b"part")


@pytest.fixture
def package(tmp_path):
    """A folder like that of the npm package, with empty parts."""
    folder = tmp_path / "project" / "node_modules" / "@litertjs" / "core"
    (folder / "wasm").mkdir(parents=True)
    document = {"name": litert_js.PACKAGE, "version": litert_js.VERSION}
    (folder / "package.json").write_text(json.dumps(document))
    for name, content in PARTS.items():
        (folder / "wasm" / name).write_bytes(content)
    return folder


@pytest.fixture
def no_npm(monkeypatch, tmp_path):
    """Neither npm nor a cache."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_site_has_the_same_file_and_all_that_the_page_loads(tmp_path, package, model_file):
    folders = ["-o", str(tmp_path / "my site"), "--litert-js", str(package)]
    result = CliRunner().invoke(app, ["web", str(model_file("int8")), *folders])
    assert result.exit_code == 0, result.output
    site = tmp_path / "my site"
    assert f"python3 -m http.server -d '{site}'" in result.output
    assert (site / "model.tflite").read_bytes() == model_file("int8").read_bytes()
    written = {p.name for p in (site / "litert").iterdir()}
    assert written == {*PARTS, "NOTICE.txt"}
    assert {"index.html", "kgated.js", "kgated.d.ts", "app.js"} <= {p.name for p in site.rglob("*")}
    assert site.stat().st_mode & 0o777 == 0o755
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my site", "project"]


def test_the_project_of_the_package_will_do_too(package, model_file, tmp_path):
    project = package.parents[2]
    site = build_site(model_file("speech"), tmp_path / "site", project)
    assert (site / "litert" / litert_js.WASM_FILES[0]).read_bytes() == b"part"


def refusal(capfd, *arguments):
    """The one line that a command says."""
    with pytest.raises(SystemExit) as ended:
        main(["web", *map(str, arguments)])
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("whole", "its mode is 'sequence', the page runs a stream frame by frame: convert"),
        ("fused", "variable tensors, which lowering='fused' makes (UNIDIRECTIONAL_SEQUENCE_LSTM)"),
    ],
)
def test_files_that_do_not_run_are_refused_by_name(capfd, tmp_path, model_file, name, words):
    output = tmp_path / "site"
    error = refusal(capfd, model_file(name), "-o", output)
    assert str(model_file(name)) in error
    assert words in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"not a model", "this is not a TFLite file"),
        (b"\xff\xff\0\0TFL3" + bytes(40), "cut short or damaged"),
    ],
)
def test_other_files_are_refused(capfd, tmp_path, content, words):
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)
    assert words in refusal(capfd, path, "-o", tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_file_without_a_manifest_is_refused(capfd, tmp_path, model_file):
    model = parse(model_file("speech").read_bytes())
    model.metadata = []
    path = tmp_path / "model.tflite"
    path.write_bytes(pack(model))
    error = refusal(capfd, path, "-o", tmp_path / "site")
    assert "it has no kgated manifest: convert it with `kgated convert`" in error


def test_several_streams_at_once_are_refused(tmp_path, model_file):
    content, manifest = read_model(model_file("speech"))
    path = tmp_path / "model.tflite"
    path.write_bytes(embed(parse(content), replace(manifest, batch=4)))
    with pytest.raises(ManifestError, match="runs 4 streams at once, the page runs one"):
        build_site(path, tmp_path / "site")


def test_a_vocabulary_that_javascript_cannot_hold_is_refused_by_name(capfd, tmp_path, model_file):
    content, manifest = read_model(model_file("text"))
    vocabulary = Vocabulary((1, 2**53), split="given", unknown=0)
    path = tmp_path / "model.tflite"
    path.write_bytes(embed(parse(content), replace(manifest, vocabularies={"frame": vocabulary})))
    error = refusal(capfd, path, "-o", tmp_path / "site")
    assert "the vocabulary of 'frame' has the integer 9007199254740992, JavaScript rounds" in error
    assert not (tmp_path / "site").exists()


def test_an_output_that_exists_stays(capfd, tmp_path, model_file):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine.txt").write_text("mine")
    error = refusal(capfd, model_file("speech"), "-o", tmp_path / "site")
    assert "it exists: name a new folder for the site" in error
    assert [p.name for p in (tmp_path / "site").iterdir()] == ["mine.txt"]
    error = refusal(capfd, model_file("speech"), "-o", tmp_path / "none" / "site")
    assert "there is no folder" in error


def test_without_npm_the_error_has_a_remedy(capfd, no_npm, tmp_path, model_file):
    error = refusal(capfd, model_file("speech"), "-o", tmp_path / "site")
    assert "fetched with npm, which is not installed: install Node.js, or give" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "other"}, "has no @litertjs/core: install it there with `npm install"),
        ({"version": "9.0.0"}, "is @litertjs/core 9.0.0, the page needs 2.5.3"),
    ],
)
def test_another_package_is_refused(package, tmp_path, model_file, change, words):
    document = {"name": litert_js.PACKAGE, "version": litert_js.VERSION} | change
    (package / "package.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=words):
        build_site(model_file("speech"), tmp_path / "site", package)
    assert not (tmp_path / "site").exists()


def test_a_package_with_a_missing_part_is_refused(package, tmp_path, model_file):
    (package / "wasm" / litert_js.WASM_FILES[1]).unlink()
    with pytest.raises(ValueError, match=r"files of LiteRT.js are missing"):
        build_site(model_file("speech"), tmp_path / "site", package)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('echo "npm error code ENOTFOUND" >&2; exit 1', r"does not fetch .* \(code ENOTFOUND\)"),
        ('echo x > "$4/other.tgz"', "npm fetched another @litertjs/core"),
    ],
)
def test_errors_of_npm_are_reported(no_npm, tmp_path, model_file, monkeypatch, script, words):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises((ValueError, OSError), match=words):
        build_site(model_file("speech"), tmp_path / "site")
    assert not (tmp_path / "site").exists()
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_leaves_nothing(package, tmp_path, model_file, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kgated.web.site.os.rename", full)
    with pytest.raises(OSError, match="No space left"):
        build_site(model_file("speech"), tmp_path / "site", package)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["project"]


def test_the_command_imports_neither_keras_nor_tensorflow(package, tmp_path, model_file):
    code = (
        "import sys; from kgated_cli.web import web; from pathlib import Path; "
        f"web(Path({str(model_file('speech'))!r}), Path({str(tmp_path / 'site')!r}), "
        f"Path({str(package)!r})); "
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "site" / "index.html").exists()
