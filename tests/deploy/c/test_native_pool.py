"""Sessions of a native pool: the results of lone steps, and the commands that run a library."""

import json
from itertools import pairwise

import c_programs
import keras
import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, FrameError, SessionPool, WorkerPool
from kgated_edge.cli.main import main
from kgated_edge.native.compiler import build
from kgated_edge.native.library import Library

import kgated

FEATURES, STEPS, COUNT = 5, 6, 13
L = keras.layers
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not c_programs.has("gcc"), reason="no gcc: the native engine was NOT run"),
]


def convert(folder, quantize, layers=None, **options):
    """A stream of a convolution and two cells, with C sources."""
    keras.utils.set_random_seed(3)
    layers = layers or [
        L.Conv1D(6, 3, padding="causal", dilation_rate=2),
        kgated.PeepholeLSTM(18, return_sequences=True),
        kgated.GRU(35, return_sequences=True),
        L.Dense(3),
    ]
    model = keras.Sequential([keras.Input((None, FEATURES)), *layers])
    x = np.random.default_rng(7).normal(size=(8, 12, FEATURES)).astype(np.float32)
    options = {"mode": "stream", "calibration": x, "target": "c", **options}
    path = folder / "m.tflite"
    kgated.to_tflite(model, path, quantize=quantize, sample_period_s=0.01, **options)
    return path


@pytest.fixture(scope="module", params=["none", "dynamic", "dynamic4", "int8"])
def path(request, tmp_path_factory):
    """A file with its library."""
    path = convert(tmp_path_factory.mktemp("pool"), request.param)
    build(path.with_suffix(".c"))
    return path


@pytest.fixture(scope="module")
def frames():
    """For each step a frame of every session."""
    rng = np.random.default_rng(5)
    return rng.normal(size=(STEPS, COUNT, FEATURES)).astype(np.float32)


def lone_results(path, frames):
    """Results (steps, sessions, ...) and states of each session by itself."""
    model, columns, states = EdgeModel(path, engine="native"), [], []
    for n in range(frames.shape[1]):
        model.reset()
        columns.append(np.stack([model.step(frame) for frame in frames[:, n]]))
        states.append(model.state)
    return np.stack(columns, 1), states


def test_sessions_together_get_the_results_of_lone_steps(path, frames):
    expected, states = lone_results(path, frames)
    assert len(np.unique(expected)) > 10
    pool = SessionPool(path, engine="native")
    assert pool.engine == "native"
    sessions = [pool.open() for _ in range(COUNT)]
    # In another order and number each time, so that every place of a tile is taken.
    rng = np.random.default_rng(9)
    for step in range(STEPS):
        order = rng.permutation(COUNT)
        cuts = [0, step, 5 + step, COUNT]
        for first, last in pairwise(cuts):
            chosen = order[first:last]
            results = pool.step([sessions[n] for n in chosen], frames[step, chosen])
            np.testing.assert_array_equal(results, expected[step, chosen])
    for session, state in zip(sessions, states, strict=True):
        for name, array in state.items():
            np.testing.assert_array_equal(session.state[name], array)


def test_a_lone_session_and_one_listed_twice_step_in_order(path, frames):
    expected, _ = lone_results(path, frames[:3])
    pool = SessionPool(path, engine="native").clone()
    first, second = pool.open(), pool.open()
    rows = np.stack([frames[0, 0], frames[0, 1], frames[1, 0]])
    results = pool.step([first, second, first], rows)
    np.testing.assert_array_equal(results, [expected[0, 0], expected[0, 1], expected[1, 0]])
    np.testing.assert_array_equal(first.step(frames[2, 0]), expected[2, 0])
    assert pool.step([], frames[0, :0]).shape == (0, 3)


def test_a_bad_frame_of_a_session_changes_no_session(path, frames):
    pool = SessionPool(path, engine="native")
    sessions = [pool.open() for _ in range(COUNT)]
    bad = frames[0].copy()
    bad[7, 1] = np.inf
    with pytest.raises(FrameError, match="7"):
        pool.step(sessions, bad)
    for session in sessions:
        for array, spec in zip(session.state.values(), pool.manifest.states, strict=True):
            np.testing.assert_array_equal(array, spec.zero_point or 0)


@pytest.mark.parametrize("path", ["dynamic"], indirect=True)
def test_processes_of_a_pool_run_the_library(path, frames):
    expected, _ = lone_results(path, frames[:2])
    with WorkerPool(path, COUNT, 2, engine="native") as pool:
        for n in range(2):
            np.testing.assert_array_equal(pool.step(frames[n]), expected[n])


@pytest.mark.parametrize("path", ["dynamic"], indirect=True)
def test_the_commands_run_the_library_and_say_so(path, frames, tmp_path, capsys, monkeypatch):
    data, out = tmp_path / "x.npz", tmp_path / "out.json"
    np.savez(data, x=np.moveaxis(frames, 0, 1))
    np.savetxt(tmp_path / "x.csv", frames[:, 0], delimiter=",")
    calls = []
    opened = Library.open.__func__
    recorder = classmethod(lambda cls, *args: calls.append(1) or opened(cls, *args))
    monkeypatch.setattr(Library, "open", recorder)
    load = ["--data", str(data), "--seconds", "0.05", "--deadline-ms", "1000"]
    for command in (
        ["check", "--data", str(data)],
        ["check", "--data", str(data), "--pool"],
        ["selftest"],
        ["realtime", *load],
        ["realtime", *load, "--pool", "--streams", "9"],
        ["live", str(tmp_path / "x.csv")],
        ["events", str(tmp_path / "x.csv"), "--on", "0.5"],
    ):
        calls.clear()
        name, *rest = command
        arguments = [name, str(path), *rest, "--engine", "native", "--json", str(out)]
        assert main(arguments) == 0, capsys.readouterr().err
        assert calls, command
        assert json.loads(out.read_text())["engine"] == "native"
        text = capsys.readouterr()
        assert "native" in text.out + text.err


@pytest.mark.parametrize("path", ["dynamic"], indirect=True)
def test_without_a_library_each_way_in_is_refused(path, frames, tmp_path, capsys):
    copy, data = tmp_path / "copy.tflite", tmp_path / "x.npz"
    copy.write_bytes(path.read_bytes())
    np.savez(data, x=np.moveaxis(frames, 0, 1))
    with pytest.raises(EdgeError, match="no native library"):
        SessionPool(copy, engine="native")
    with pytest.raises(EdgeError, match="no native library"):
        WorkerPool(copy, 4, 2, engine="native")
    for command in (
        ["check", "--data", str(data)],
        ["selftest"],
        ["realtime", "--data", str(data)],
    ):
        name, *rest = command
        assert main([name, str(copy), *rest, "--engine", "native"]) == 2
        assert "no native library" in capsys.readouterr().err
    with pytest.raises(EdgeError, match="`engine` must be"):
        WorkerPool(copy, 4, 2, engine="fast")


@pytest.mark.parametrize("path", ["dynamic"], indirect=True)
def test_a_library_of_older_sources_is_refused(path, tmp_path):
    for suffix in (".tflite", ".h", ".c"):
        content = path.with_suffix(suffix).read_text(errors="surrogateescape")
        content = content.replace("kgated_together(", "kgated_was_not_there(")
        target = (tmp_path / "m").with_suffix(suffix)
        target.write_text(content, errors="surrogateescape")
    (tmp_path / "m.tflite").write_bytes(path.read_bytes())
    build(tmp_path / "m.c")
    with pytest.raises(EdgeError, match=r"older sources.*kgated-edge build"):
        SessionPool(tmp_path / "m.tflite", engine="native")


# Runs a step of 11 sessions together and of each by itself, by every kind of kernel.
TOGETHER = """
#include <stdio.h>
#include "NAME.c"
static NAME_state lone[11], tile[KG_TOGETHER], held[11];
int main(void) {
  static TYPE frames[11][5], results[11][3], alone[3];
  uint32_t seed = 7;
  for (unsigned n = 0; n < 11; ++n) {
    NAME_reset(&lone[n]);
    NAME_reset(&held[n]);
  }
  for (unsigned step = 0; step < 20; ++step) {
    void *arguments[2] = {frames, results}, *states[11 * COUNT + 1];
    for (unsigned n = 0; n < 11; ++n) {
      for (unsigned i = 0; i < 5; ++i)
        frames[n][i] = (TYPE)(((float)((seed = seed * 1664525u + 1u) >> 24) / 128.0f - 1.0f) * TOP);
      for (unsigned k = 0; k < COUNT; ++k)
        states[n * COUNT + k] = (char *)&held[n] + kgated_state_offsets[k];
    }
    kgated_together(tile, 11, arguments, states);
    for (unsigned n = 0; n < 11; ++n) {
      void *own[3] = {&lone[n], frames[n], alone};
      if (kgated_call(own) != 0) return 2;
      if (memcmp(alone, results[n], sizeof alone) != 0) return 3;
      for (unsigned k = 0; k + 1 < COUNT; ++k) {
        const uint64_t start = kgated_state_offsets[k], size = kgated_state_offsets[k + 1] - start;
        if (memcmp((char *)&held[n] + start, (char *)&lone[n] + start, size) != 0) return 4;
      }
    }
  }
  return 0;
}
"""


KERNELS = {
    "gcc": (["-O2"], ["-O1", "-mavx2"], ["-O3", "-march=native"]),
    "clang": (["-O1", "-march=native"], c_programs.SANITIZED),
}


@pytest.mark.parametrize("compiler", KERNELS)
def test_every_kernel_gives_the_results_of_lone_steps(path, compiler, tmp_path):
    if not c_programs.has_sanitizers(compiler):
        pytest.skip(f"no {compiler} with its sanitizers: C was NOT compiled")
    manifest = EdgeModel(path).manifest
    ctype, top = ("int8_t", "100.0f") if manifest.blocks[0].is_quantized else ("float", "1.0f")
    text = TOGETHER.replace("COUNT", str(len(manifest.states))).replace("NAME", "m")
    (tmp_path / "main.c").write_text(text.replace("TYPE", ctype).replace("TOP", top))
    for suffix in (".h", ".c"):
        (tmp_path / f"m{suffix}").write_text(path.with_suffix(suffix).read_text())
    native = ["-DKGATED_NATIVE", '-DKGATED_HOST="test"']
    for flags in KERNELS[compiler]:
        command = [compiler, *c_programs.STRICT, *native, *flags, "main.c", "-o", "together", "-lm"]
        c_programs.run_command(command, tmp_path)
        c_programs.run_command(["./together"], tmp_path)
