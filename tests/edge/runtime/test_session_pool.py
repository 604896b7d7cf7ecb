"""Many sessions on one interpreter: each as if it had a model of its own."""

import threading

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, FrameError, Session, SessionPool, StateError
from kgated_edge.runtime.batching import as_dict

NAMES = ["speech", "int8", "int16x8"]


@pytest.fixture
def frames(rng):
    return rng.normal(size=(12, 5, 3)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_each_session_is_a_model_of_its_own(fixture_file, name, frames):
    pool = SessionPool(fixture_file(name))
    sessions = [pool.open() for _ in range(5)]
    rounds = np.array([pool.step(sessions, sequence) for sequence in frames])
    separate = [EdgeModel(fixture_file(name)).run(frames[:, n]) for n in range(5)]
    assert rounds.dtype == np.float32
    assert np.array_equal(rounds, np.stack(separate, 1))


def test_the_equations_hold_in_a_pool(speech, oracle, frames):
    pool = SessionPool(speech)
    sessions = [pool.open() for _ in range(5)]
    last = [pool.step(sessions, sequence) for sequence in frames][-1]
    expected = [oracle(speech, frames[:, n])[-1] for n in range(5)]
    assert np.abs(last - expected).max() <= 1e-6
    assert np.abs(last - expected[::-1]).max() > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_single_steps_and_rounds_mix(fixture_file, name, frames):
    pool, model = SessionPool(fixture_file(name)), EdgeModel(fixture_file(name))
    a, b = pool.open(), pool.open()
    actual = []
    for frame in frames:
        actual.append(a.step(frame[0]))
        b.step(frame[1])
        actual.append(pool.step([b, a], frame[2:4])[1])
    used = frames[:, [0, 3]].reshape(-1, 3)
    assert np.array_equal(actual, model.run(used))


def test_a_session_named_twice_takes_two_steps(speech, frames):
    pool = SessionPool(speech)
    session = pool.open()
    outputs = pool.step([session, session], frames[0, :2])
    assert np.array_equal(outputs, EdgeModel(speech).run(frames[0, :2]))


def test_a_pool_of_tokens_equals_the_equations(text, oracle, rng):
    pool, tokens = SessionPool(text), rng.integers(5, size=(4, 6)).astype(np.int32)
    sessions = [pool.open() for _ in range(6)]
    last = [pool.step(sessions, row) for row in tokens][-1]
    assert np.abs(last - [oracle(text, tokens[:, n])[-1] for n in range(6)]).max() <= 1e-6
    assert np.array_equal(pool.open().step(3), EdgeModel(text).step(3))


def test_blocks_of_several_inputs_to_several_outputs(fixture_file, rng):
    path = fixture_file("blocks")
    pool, model = SessionPool(path), EdgeModel(path)
    sound = rng.normal(size=(3, 2, 3)).astype(np.float32)
    word = rng.integers(5, size=(3, 2)).astype(np.int32)
    outputs = pool.step([pool.open() for _ in range(3)], {"sound": sound, "word": word})
    for n in range(3):
        model.reset()
        item = model.step({"sound": sound[n], "word": word[n]})
        assert set(outputs) == set(item)
        assert all(np.array_equal(outputs[name][n], item[name]) for name in item)


@pytest.mark.parametrize("name", [*NAMES, "blocks"])
def test_states_go_between_sessions_models_and_files(fixture_file, name, tmp_path, rng):
    pool, model = SessionPool(fixture_file(name)), EdgeModel(fixture_file(name))
    golden = pool.manifest.golden.frames
    frames = model.cut(golden if len(golden) > 1 else next(iter(golden.values())))
    for frame in frames:
        model.step(frame)
    first, second = pool.open(), pool.clone().open()
    first.state = model.state
    first.save_state(tmp_path / "state")
    second.load_state(tmp_path / "state")
    expected = as_dict(pool.manifest.outputs, model.step(frames[0]))
    for session in (first, second):
        outputs = as_dict(pool.manifest.outputs, session.step(frames[0]))
        assert all(np.array_equal(outputs[name], item) for name, item in expected.items())
        assert all(np.array_equal(session.state[k], v) for k, v in model.state.items())
    first.reset()
    fresh = EdgeModel(fixture_file(name)).state
    assert all(np.array_equal(first.state[k], v) for k, v in fresh.items())


def test_bad_states_are_refused(speech):
    session = SessionPool(speech).open()
    with pytest.raises(StateError, match="must hold"):
        session.state = {}
    with pytest.raises(StateError, match="must be finite"):
        session.state = {k: np.full_like(v, np.nan) for k, v in session.state.items()}


def test_a_bad_frame_moves_no_session(speech, frames):
    pool = SessionPool(speech)
    sessions = [pool.open() for _ in range(5)]
    pool.step(sessions, frames[0])
    before = [session.state for session in sessions]
    bad = frames[1].copy()
    bad[3, 1] = np.nan
    with pytest.raises(FrameError, match=r"frame 3: a frame must be finite, got nan at \(1,\)"):
        pool.step(sessions, bad)
    with pytest.raises(FrameError, match=r"shape \(5, 3\), a row per session, got \(4, 3\)"):
        pool.step(sessions, frames[1, :4])
    with pytest.raises(FrameError, match="got list"):
        pool.step(sessions, frames[1].tolist())
    with pytest.raises(FrameError, match="float64"):
        pool.step(sessions, frames[1].astype(float))
    with pytest.raises(FrameError, match="finite"):
        sessions[0].step(bad[3])
    for session, state in zip(sessions, before, strict=True):
        assert all(np.array_equal(session.state[k], v) for k, v in state.items())
    pool.step(sessions, frames[1])


def test_a_round_of_none_and_a_session_of_another_pool(speech, frames):
    pool = SessionPool(speech)
    assert pool.step([], frames[0, :0]).shape == (0, 2)
    with pytest.raises(EdgeError, match="of this pool"):
        pool.step([pool.clone().open()], frames[0, :1])
    with pytest.raises(EdgeError, match="of this pool"):
        pool.step(["a"], frames[0, :1])


def test_a_file_with_internal_state_has_no_sessions(fixture_file):
    with pytest.raises(StateError, match="inside"):
        SessionPool(fixture_file("inside"))


def test_two_threads_in_one_pool_get_an_error(text):
    pool = SessionPool(text)
    a, b = pool.open(), pool.open()
    caught = []

    class Meeting:
        def __index__(self):
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()
            return 3

    def attempt():
        for call in (
            lambda: b.step(1),
            lambda: pool.step([b], np.ones(1, np.int32)),
            b.reset,
            lambda: setattr(b, "state", a.state),
        ):
            with pytest.raises(EdgeError, match="another thread uses this pool"):
                call()
            caught.append(True)

    expected = pool.clone().open().step(3)
    assert np.array_equal(a.step(Meeting()), expected)
    assert caught == [True] * 4
    assert np.array_equal(b.step(3), expected)


def test_a_session_weighs_its_states(speech):
    session = SessionPool(speech).open()
    assert isinstance(session, Session)
    assert not hasattr(session, "__dict__")
    assert set(Session.__slots__) == {"_copies", "_number", "_pool"}
