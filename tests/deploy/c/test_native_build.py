"""`kgated-edge build`: names, compilers, damaged libraries, and what lies in the folder."""

import re
import subprocess
import sys

import c_programs
import keras
import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, EventSettings, SequenceModel, SessionPool
from kgated_edge.format.reader import read_model
from kgated_edge.native.compiler import build

import kgated
from kgated.deploy import c
from kgated.tuning import write_section

FEATURES = 3
pytestmark = pytest.mark.skipif(
    not c_programs.has("gcc"), reason="no gcc: the native engine was NOT built"
)


def convert(path, **options):
    """A small stream with C sources."""
    keras.utils.set_random_seed(3)
    cell = kgated.LSTM(4, return_sequences=True)
    model = keras.Sequential([keras.Input((None, FEATURES)), cell])
    kgated.to_tflite(model, path, mode="stream", target="c", **options)
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A file with its sources and its library."""
    path = convert(tmp_path_factory.mktemp("build") / "m.tflite")
    return path, build(path.with_suffix(".c"))


@pytest.fixture
def path(original, tmp_path):
    """A copy of the file and of its sources, without the library."""
    for suffix in (".tflite", ".h", ".c"):
        (tmp_path / f"m{suffix}").write_bytes(original[0].with_suffix(suffix).read_bytes())
    return tmp_path / "m.tflite"


def script(folder, text):
    """The path of a program."""
    program = folder / "compiler"
    program.write_text(text)
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize("stem", ["kg", "kgated", "kg_python", "KG", "int", "1 é"])
def test_no_name_of_a_file_meets_a_name_in_the_sources(stem, original, tmp_path):
    content, manifest = read_model(original[0])
    for suffix, text in zip((".h", ".c"), c.sources(content, manifest, stem), strict=True):
        (tmp_path / f"{stem}{suffix}").write_text(text)
    native = ["-DKGATED_NATIVE", '-DKGATED_HOST="test"', "-fsyntax-only"]
    command = ["gcc", *c_programs.STRICT, *native, f"{stem}.c"]
    c_programs.run_command(command, tmp_path)


def test_a_sequence_with_a_name_of_the_sources_and_4_bits_passes_its_self_test(tmp_path, rng):
    x = rng.normal(size=(8, 12, 1)).astype(np.float32)
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((None, 1)), kgated.LSTM(1, return_sequences=True)])
    path, options = tmp_path / "kg.tflite", {"quantize": "dynamic4", "calibration": x}
    kgated.to_tflite(model, path, mode="sequence", max_length=12, target="c", **options)
    build(path.with_suffix(".c"))  # its stream has weights of 4 bits, the sequence floats
    native, litert = SequenceModel(path, engine="native"), SequenceModel(path)
    np.testing.assert_allclose(native.run(x[0]), litert.run(x[0]), atol=0.1)


@pytest.mark.parametrize("name", ['a"b.tflite', "a\nb.tflite"])
def test_a_name_that_c_cannot_include_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"C takes no .* in a name of a file; name another"):
        convert(tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_the_libraries_of_other_models_stay(path):
    old, near, far = (
        path.with_name(f"{name}.native.so")
        for name in ("m.0123456789ab", "m.v2.0123456789ab", "m.ba9876543210")
    )
    for library in (old, near, far):
        library.touch()
    path.with_name("m.ba9876543210.tflite").touch()  # the model that `far` looks like
    build(path.with_suffix(".c"))
    assert (old.exists(), near.exists(), far.exists()) == (False, True, True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!/bin/sh\n", "ended without an error and made no library"),
        ("#!/bin/sh\nexit 7\n", "cannot compile it: it ends with 7"),
        ("#!/bin/sh\nprintf '\\351' >&2; exit 1\n", "cannot compile it: \ufffd"),
        ("#!/no/such/shell\n", "cannot be run .*: name a C compiler"),
        (
            '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done; echo x >"$2"\n',
            r"\(.*\): take another",
        ),
    ],
)
def test_a_compiler_that_makes_no_library_is_refused(text, reason, path):
    with pytest.raises(EdgeError, match=reason) as caught:
        build(path.with_suffix(".c"), script(path.parent, text))
    assert "\n" not in str(caught.value)
    assert not list(path.parent.glob("*.so"))


def test_the_compiler_of_the_environment_is_taken_with_its_options_or_refused(path, monkeypatch):
    recorded = path.with_name("arguments")
    program = script(path.parent, f'#!/bin/sh\necho "$@" >{recorded}\nexec gcc "$@"\n')
    monkeypatch.setenv("CC", f"{program} -DOWN_OPTION")
    build(path.with_suffix(".c"))
    assert "-DOWN_OPTION" in recorded.read_text()
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    with pytest.raises(EdgeError, match="looked for no-such-compiler -O2"):
        build(path.with_suffix(".c"))


def test_a_header_and_sources_of_another_file_are_refused(path, original):
    with pytest.raises(EdgeError, match="no C sources"):
        build(path.with_suffix(".h"))
    digest = original[1].name.split(".")[1]
    source = path.with_suffix(".c")
    source.write_text(source.read_text().replace(digest, "0" * 12))
    with pytest.raises(EdgeError, match=r"another file than m\.tflite: convert the model again"):
        build(source)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.99])
def test_a_library_that_was_cut_off_is_refused_before_it_is_loaded(fraction, path, original):
    content = original[1].read_bytes()
    path.with_name(original[1].name).write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(EdgeError, match=r"damaged.*build it again"):
        EdgeModel(path, engine="native")
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    path.with_name(original[1].name).write_bytes(changed)
    with pytest.raises(EdgeError, match=r"damaged.*build it again"):
        EdgeModel(path, engine="native")


def test_a_folder_that_cannot_be_written_is_named(path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(EdgeError, match=r"cannot be written \(Permission denied\): copy m\.c"):
        build(path.with_suffix(".c"))


def test_two_processes_may_build_at_once(path):
    command = [sys.executable, "-m", "kgated_edge", "build", str(path.with_suffix(".c"))]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    results = [process.communicate(timeout=100)[0] for process in processes]
    assert all(re.search("passed the self-test", text) for text in results)
    assert [p.suffix for p in path.parent.iterdir() if p.is_dir()] == []
    EdgeModel(path, engine="native").step(np.ones(FEATURES, np.float32))


def test_the_sources_follow_a_change_of_the_manifest(path):
    foreign = path.with_suffix(".h").read_bytes()
    before = build(path.with_suffix(".c"))
    write_section(path, "events", EventSettings().to_plain())
    after = build(path.with_suffix(".c"))
    assert after != before
    assert EdgeModel(path, engine="native").engine == "native"
    # A file of somebody else at that place is left alone.
    path.with_suffix(".h").write_bytes(b"#define DIGEST\n" + foreign)
    write_section(path, "events", None)
    assert path.with_suffix(".h").read_bytes() == b"#define DIGEST\n" + foreign


def test_constants_of_alternating_sign_give_the_same_bits_alone_and_together(tmp_path, rng):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(6), keras.layers.LayerNormalization()]
    layers += [kgated.GRU(3, return_sequences=True)]
    model = keras.Sequential([keras.Input((None, FEATURES)), *layers])
    for layer in layers[:2]:
        for weight in layer.weights:
            weight.assign(rng.normal(size=weight.shape))
    layers[1].beta.assign([0.5, -0.7, 0.3, -0.9, 0.6, -0.2])
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="stream", target="c")
    build(path.with_suffix(".c"), "gcc")
    pool, lone = SessionPool(path, engine="native"), EdgeModel(path, engine="native")
    frames = rng.normal(size=(200, FEATURES)).astype(np.float32)
    results = pool.step([pool.open() for _ in frames], frames)
    for frame, result in zip(frames, results, strict=True):
        lone.reset()
        np.testing.assert_array_equal(lone.step(frame), result)
