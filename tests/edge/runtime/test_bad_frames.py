"""What becomes of frames with NaN or inf: refused, or by choice replaced by the last good one."""

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, FrameError

BAD = [np.nan, np.inf, -np.inf]


def hold(path):
    return EdgeModel(path, on_bad_frame="hold")


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["speech", "int8"])
def test_bad_frames_are_refused_by_default_and_leave_the_state(fixture_file, name, frames, bad):
    model = EdgeModel(fixture_file(name))
    model.run(frames)
    before = model.state
    frames[3, 1] = bad
    with pytest.raises(FrameError, match="finite"):
        model.step(frames[3])
    with pytest.raises(FrameError, match="frame 3: a frame must be finite"):
        model.run(frames)
    assert all(np.array_equal(model.state[k], v) for k, v in before.items())
    assert model.held_frames == 0


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["speech", "int8", "int16x8", "inside"])
def test_held_frames_are_the_last_good_one(fixture_file, name, frames, bad):
    filled = frames.copy()
    filled[2] = filled[1]
    filled[5:7] = filled[4]
    expected = EdgeModel(fixture_file(name)).run(filled)
    frames[2, 0] = frames[5, 2] = frames[6, 1] = bad
    model = hold(fixture_file(name))
    outputs = [model.step(frame) for frame in frames[:4]]
    assert model.held_frames == 1
    outputs += list(model.run(frames[4:]))
    assert np.array_equal(outputs, expected)
    assert model.held_frames == 3


def test_a_held_frame_is_a_copy(speech, frames):
    model, reference = hold(speech), EdgeModel(speech)
    buffer = frames[0].copy()
    model.step(buffer)
    buffer[:] = np.nan
    reference.step(frames[0])
    assert np.array_equal(model.step(buffer), reference.step(frames[0]))


def test_a_bad_first_frame_is_refused(speech, frames):
    model, bad = hold(speech), np.full(3, np.nan, np.float32)
    for _ in range(2):
        before = model.state
        with pytest.raises(FrameError, match="finite"):
            model.step(bad)
        assert all(np.array_equal(model.state[k], v) for k, v in before.items())
        model.run(frames)
        model.reset()
    assert model.held_frames == 0


def test_in_a_block_each_frame_is_held_on_its_own(fixture_file, rng):
    sound = rng.normal(size=(6, 3)).astype(np.float32)
    word = rng.integers(5, size=6).astype(np.int32)
    filled, path = sound.copy(), fixture_file("blocks")
    filled[1], filled[4] = filled[0], filled[3]
    expected = EdgeModel(path).run({"sound": filled, "word": word})
    sound[[1, 4]] = np.nan
    model = hold(path)
    outputs = model.run({"sound": sound, "word": word})
    assert all(np.array_equal(outputs[name], item) for name, item in expected.items())
    assert model.held_frames == 2


def test_a_step_refused_for_another_input_is_not_remembered(fixture_file, rng):
    sound = rng.normal(size=(3, 2, 3)).astype(np.float32)
    word, model, reference = np.zeros(2, np.int32), *map(hold, [fixture_file("blocks")] * 2)
    model.step({"sound": sound[0], "word": word})
    for refused in (sound[1], np.full((2, 3), np.nan, np.float32)):
        with pytest.raises(FrameError, match="input `word`: a token must be in"):
            model.step({"sound": refused, "word": word + 9})
    assert model.held_frames == 0
    sound[2, 0] = np.nan
    outputs = model.step({"sound": sound[2], "word": word})
    reference.step({"sound": sound[0], "word": word})
    expected = reference.step({"sound": np.stack([sound[0, 1], sound[2, 1]]), "word": word})
    assert all(np.array_equal(outputs[name], item) for name, item in expected.items())
    assert model.held_frames == 1


def test_integers_are_not_held(fixture_file, frames):
    model = hold(fixture_file("int8"))
    model.step(frames[0])
    model.step(np.ones(3, np.int8))
    with pytest.raises(FrameError, match="finite"):
        model.step(np.full(3, np.nan, np.float32))


def test_other_faults_are_refused_as_ever(speech, text, frames):
    model = hold(speech)
    model.step(frames[0])
    for bad in (frames[0][:2], frames[0].astype(float), None, [1.0, 2.0, 3.0]):
        with pytest.raises(FrameError, match="must be an array"):
            model.step(bad)
    with pytest.raises(FrameError, match="token must be in"):
        hold(text).step(5)
    assert model.held_frames == 0


def test_clones_keep_the_policy_and_count_for_themselves(speech, frames):
    model = hold(speech)
    model.step(frames[0])
    clone = model.clone()
    with pytest.raises(FrameError, match="finite"):
        clone.step(np.full(3, np.nan, np.float32))
    model.step(np.full(3, np.nan, np.float32))
    assert (model.held_frames, clone.held_frames) == (1, 0)


def test_a_policy_nobody_knows(speech):
    with pytest.raises(EdgeError, match=r"`on_bad_frame` must be one of .*, got 'drop'"):
        EdgeModel(speech, on_bad_frame="drop")
