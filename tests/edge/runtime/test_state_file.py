"""Many models of one file: clones, states in files, and threads that meet in one model."""

import os
import threading
import zipfile

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, StateError
from kgated_edge.measure.monitor import resident_mib


@pytest.fixture
def frames(rng):
    return rng.normal(size=(20, 3)).astype(np.float32)


def test_a_clone_has_a_state_of_its_own(speech, oracle, frames):
    model = EdgeModel(speech)
    first = model.run(frames[:10])
    clone = model.clone()
    mixed = [(model.step(a), clone.step(b)) for a, b in zip(frames[10:], frames[:10], strict=True)]
    assert np.array_equal(first, np.array([b for _, b in mixed]))
    rest = np.array([a for a, _ in mixed])
    assert np.abs(rest - oracle(speech, frames)[10:]).max() <= 1e-6


def test_a_clone_outlives_the_model_and_its_file(speech, tmp_path, frames):
    path = tmp_path / "gone.tflite"
    path.write_bytes(speech.read_bytes())
    model = EdgeModel(path)
    path.unlink()
    expected = model.run(frames)
    clone = model.clone()
    del model
    assert np.array_equal(clone.run(frames), expected)


def test_clones_share_the_loaded_bytes(speech):
    model = EdgeModel(speech, num_threads=2)
    clone = model.clone().clone()
    assert clone._binding.content is model._binding.content
    assert clone._binding.num_threads == 2
    assert clone._binding.interpreter is not model._binding.interpreter


@pytest.mark.skipif(resident_mib() is None, reason="the system hides the memory of a process")
def test_clones_hold_a_large_file_once(speech, tmp_path, sign):
    path = tmp_path / "large.tflite"
    path.write_bytes(sign(speech.read_bytes() + bytes(16 << 20)))
    model = EdgeModel(path)
    before = resident_mib()
    clones = [model.clone() for _ in range(20)]
    assert resident_mib() - before < 16
    assert len(clones) == 20


def test_a_clone_of_a_file_with_internal_state(fixture_file, frames):
    model = EdgeModel(fixture_file("inside"))
    expected = model.run(frames)
    clone = model.clone()
    assert np.array_equal(clone.run(frames), expected)


@pytest.mark.parametrize("name", ["speech", "int8", "int16x8"])
def test_a_state_goes_through_a_file(fixture_file, name, frames, tmp_path):
    path, model = tmp_path / "state", EdgeModel(fixture_file(name))
    model.run(frames[:10])
    model.save_state(path)
    expected = model.run(frames[10:])
    restored = EdgeModel(fixture_file(name))
    assert not np.array_equal(restored.run(frames[10:]), expected)
    restored.load_state(path)
    assert np.array_equal(restored.run(frames[10:]), expected)
    assert os.listdir(tmp_path) == ["state"]


def test_saving_again_replaces(speech, frames, tmp_path):
    path, model = tmp_path / "state.npz", EdgeModel(speech)
    model.save_state(path)
    model.run(frames)
    model.save_state(path)
    saved = model.state
    model.reset()
    model.load_state(path)
    assert all(np.array_equal(model.state[name], array) for name, array in saved.items())


def test_the_state_of_another_model_is_refused(speech, text, frames, tmp_path):
    path = tmp_path / "state.npz"
    EdgeModel(text).save_state(path)
    model = EdgeModel(speech)
    model.run(frames)
    before = model.state
    with pytest.raises(StateError, match="of the model file with digest"):
        model.load_state(path)
    assert all(np.array_equal(model.state[name], array) for name, array in before.items())


def test_bad_state_files(speech, tmp_path):
    path, model = tmp_path / "state.npz", EdgeModel(speech)
    model.save_state(path)
    content = path.read_bytes()
    for bad in (b"", b"hello", content[:-40], content[: len(content) // 2]):
        path.write_bytes(bad)
        with pytest.raises(StateError, match="not an intact state file"):
            model.load_state(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(StateError, match="not an intact state file"):
        model.load_state(path)
    np.savez(path, model_sha256=np.array([None], object))
    with pytest.raises(StateError, match="not an intact state file"):
        model.load_state(path)
    with pytest.raises(StateError, match="no such file"):
        model.load_state(tmp_path / "missing.npz")
    with pytest.raises(StateError, match="a directory"):
        model.load_state(tmp_path)
    for nowhere in (tmp_path / "missing" / "state.npz", "", "/", "a\0b"):
        with pytest.raises(StateError, match="cannot be written"):
            model.save_state(nowhere)


def test_a_state_file_whose_arrays_do_not_fit(speech, tmp_path):
    path, model = tmp_path / "state.npz", EdgeModel(speech)
    model.save_state(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["state.lstm_c"] = np.full(4, np.nan, np.float32)
    np.savez(path, **arrays)
    with pytest.raises(StateError, match="must be finite"):
        model.load_state(path)
    del arrays["state.lstm_c"]
    np.savez(path, **arrays)
    with pytest.raises(StateError, match="must hold"):
        model.load_state(path)
    assert all(np.array_equal(array, np.zeros(4)) for array in model.state.values())


def test_a_state_file_holds_no_pickle(speech, tmp_path):
    path = tmp_path / "state.npz"
    EdgeModel(speech).save_state(path)
    with zipfile.ZipFile(path) as archive:
        headers = [archive.read(name)[:100] for name in archive.namelist()]
    assert len(headers) == 3
    assert not any(b"'|O'" in header for header in headers)


def test_a_state_inside_the_file_has_no_file_of_its_own(fixture_file, tmp_path):
    model = EdgeModel(fixture_file("inside"))
    for call in (model.save_state, model.load_state):
        with pytest.raises(StateError, match="inside"):
            call(tmp_path / "state.npz")


class Meeting:
    """A token that, while it is looked at, lets another thread call something."""

    def __init__(self, call):
        self.call, self.caught = call, []

    def attempt(self):
        try:
            self.call()
        except EdgeError as error:
            self.caught.append(str(error))

    def __index__(self):
        thread = threading.Thread(target=self.attempt)
        thread.start()
        thread.join()
        return 3


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.step(1),
        lambda model: model.run(np.ones(2, np.int32)),
        lambda model: model.reset(),
        lambda model: model.state,
        lambda model: setattr(model, "state", model.clone().state),
    ],
    ids=["step", "run", "reset", "state", "set state"],
)
def test_two_threads_in_one_model_get_an_error(text, call):
    model = EdgeModel(text)
    token = Meeting(lambda: call(model))
    result = model.step(token)
    assert len(token.caught) == 1
    assert "another thread uses this model" in token.caught[0]
    separate = EdgeModel(text)
    assert np.array_equal(result, separate.step(3))
    assert np.array_equal(model.step(2), separate.step(2)), "the refused call left a trace"


def test_a_clone_is_free_for_the_other_thread(text):
    model = EdgeModel(text)
    clone = model.clone()
    token = Meeting(lambda: clone.step(1))
    model.step(token)
    assert token.caught == []


def test_a_model_may_move_to_another_thread(text):
    model = EdgeModel(text)
    expected = model.clone().step(3)
    results = []
    thread = threading.Thread(target=lambda: results.append(model.step(3)))
    thread.start()
    thread.join()
    assert np.array_equal(results, [expected])


def test_a_refused_frame_leaves_the_model_free(text):
    model = EdgeModel(text)
    for _ in range(2):
        with pytest.raises(EdgeError, match="token"):
            model.step(99)
    model.step(3)
