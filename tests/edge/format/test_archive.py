"""The promise of compatibility: every file of the archive loads, and computes what it computed."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from extra_packages import required
from kgated_edge import (
    EdgeModel,
    ManifestError,
    SessionPool,
    SignatureError,
    open_model,
    read_manifest,
    require_signature,
    selftest,
)
from kgated_edge.format.manifest import FORMAT_VERSION
from kgated_edge.format.reader import parse_manifest

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "archive"
FILES = sorted(ARCHIVE.rglob("*.tflite"))
TOLERANCE = 1e-5  # of float files; integer files may differ by what their golden frames allow


def arrays(path, prefix):
    with np.load(path.with_suffix(".npz")) as stored:
        return {k.removeprefix(prefix): stored[k] for k in stored.files if k.startswith(prefix)}


def results(model, path):
    frames = arrays(path, "in_")
    outputs = model.run(frames if len(frames) > 1 else next(iter(frames.values())))
    return outputs if isinstance(outputs, dict) else {model.manifest.outputs[0].name: outputs}


def tolerance(model):
    return max(TOLERANCE, model.manifest.golden.tolerance)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_of_the_archive_computes_what_it_computed(path):
    model = open_model(path)
    outputs = results(model, path)
    expected = arrays(path, "out_")
    assert set(outputs) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], values, rtol=0, atol=tolerance(model))
        assert np.abs(values).max() > 1e-3
    assert selftest(path).passed


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.with_suffix(".state.npz").is_file()],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_a_state_of_the_archive_loads(path):
    model = EdgeModel(path)
    model.load_state(path.with_suffix(".state.npz"))
    loaded = model.state
    model.reset()
    results(model, path)
    for name, values in model.state.items():
        np.testing.assert_allclose(loaded[name], values, rtol=0, atol=2 * tolerance(model))
        assert np.any(values != 0)


def test_no_file_of_the_archive_was_changed_or_removed():
    lines = (ARCHIVE / "SHA256SUMS").read_text().splitlines()
    digests = dict(reversed(line.split("  ")) for line in lines)
    paths = [p for p in ARCHIVE.rglob("*") if p.suffix in (".tflite", ".npz", ".pub")]
    actual = {
        str(p.relative_to(ARCHIVE)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths
    }
    assert actual == digests
    assert len(FILES) >= 23


def test_the_archive_has_every_format_version_mode_dtype_and_section():
    manifests = [read_manifest(path) for path in FILES]
    assert FORMAT_VERSION == 1, "add files of the new format version to the archive"
    assert {m.mode for m in manifests} == {"stream", "sequence"}
    assert {m.state for m in manifests} == {"external", "internal"}
    assert {m.frames[0].dtype for m in manifests} == {"float32", "int32", "int8", "int16"}
    for section in (
        "events",
        "intervals",
        "feature_statistics",
        "vocabularies",
        "labels",
        "padded",
        "front_end",
        "sessions",
    ):
        assert any(getattr(m, section) for m in manifests), section


@pytest.mark.parametrize("path", sorted(ARCHIVE.rglob("*.pub")), ids=lambda path: path.stem)
def test_a_signature_of_the_archive_fits(path):
    required("cryptography")
    file, key = path.with_suffix(".tflite"), path
    assert require_signature(file, key).signing.version == 1
    with pytest.raises(SignatureError):
        require_signature(file.with_name("sessions.tflite"), key)


@pytest.mark.parametrize("path", [path for path in FILES if read_manifest(path).sessions])
def test_sessions_of_the_archive_run_together(path):
    (frames,), (outputs,) = arrays(path, "in_").values(), arrays(path, "out_").values()
    pool = SessionPool(path)
    sessions = [pool.open() for _ in range(2)]
    for frame, expected in zip(frames, outputs, strict=True):
        for result in pool.step(sessions, np.stack([frame, frame])):
            np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE)


def test_a_block_of_the_archive_has_several_frames():
    assert any(read_manifest(path).recipe.get("block") == 3 for path in FILES)


def test_a_file_of_a_newer_format_is_refused_by_both_numbers():
    text = f'{{"format_version": {FORMAT_VERSION + 1}}}'
    with pytest.raises(ManifestError, match=rf"{FORMAT_VERSION + 1}.*{FORMAT_VERSION}"):
        parse_manifest(text)
