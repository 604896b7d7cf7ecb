"""EdgeModel: what it computes, what it keeps, what it refuses."""

import gc
import struct
import weakref

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from kgated_edge import EdgeError, EdgeModel, FrameError, ManifestError, StateError

TOLERANCE = 1e-6


@pytest.fixture
def frames(rng):
    return rng.normal(size=(40, 3)).astype(np.float32)


def test_steps_compute_the_equations(speech, oracle, frames):
    model = EdgeModel(speech)
    outputs = np.array([model.step(frame) for frame in frames])
    assert outputs.dtype == np.float32
    assert np.abs(outputs - oracle(speech, frames)).max() <= TOLERANCE


def test_the_tolerance_sees_a_state_that_is_not_carried(speech, oracle, frames):
    model = EdgeModel(speech)
    outputs = []
    for frame in frames:
        model.reset()
        outputs.append(model.step(frame))
    assert np.abs(np.array(outputs) - oracle(speech, frames)).max() > 1000 * TOLERANCE


def test_the_tolerance_sees_swapped_states(speech, oracle, frames):
    model = EdgeModel(speech)
    outputs = []
    for frame in frames:
        outputs.append(model.step(frame))
        model.state = dict(zip(("lstm_h", "lstm_c"), reversed(model.state.values()), strict=True))
    assert np.abs(np.array(outputs) - oracle(speech, frames)).max() > 1000 * TOLERANCE


def test_tokens_compute_the_equations(text, oracle, rng):
    tokens = rng.integers(5, size=40).astype(np.int32)
    model = EdgeModel(text)
    expected = oracle(text, tokens)
    assert np.abs(model.run(tokens) - expected).max() <= TOLERANCE
    assert np.abs(model.run(tokens) - expected).max() > 1000 * TOLERANCE, "state was not carried on"


def test_a_token_may_be_any_integer(text):
    model = EdgeModel(text)
    results = []
    for token in (3, np.int32(3), np.int64(3), np.uint8(3), np.array(3), np.array(3, np.int16)):
        model.reset()
        results.append(model.step(token))
    assert np.ptp(results, axis=0).max() == 0.0
    model.reset()
    assert np.abs(model.step(2) - results[0]).max() > 1000 * TOLERANCE


def test_run_is_steps_and_halves_are_the_whole(speech, frames):
    model = EdgeModel(speech)
    full = model.run(frames)
    model.reset()
    halves = np.concatenate([model.run(frames[:17]), model.run(frames[17:])])
    model.reset()
    steps = np.array([model.step(frame) for frame in frames])
    assert np.array_equal(full, halves)
    assert np.array_equal(full, steps)


def test_run_of_no_frames(speech):
    assert EdgeModel(speech).run(np.zeros((0, 3), np.float32)).shape == (0, 2)


def test_reset_starts_over(speech, frames):
    model = EdgeModel(speech)
    first = model.run(frames)
    assert any(value.any() for value in model.state.values())
    model.reset()
    assert not any(value.any() for value in model.state.values())
    assert np.array_equal(model.run(frames), first)


def test_inputs_survive_a_step(speech, frames):
    """The state lives in the input tensors: the interpreter must leave those alone."""
    model = EdgeModel(speech)
    model.step(frames[0])
    interpreter = Interpreter(model_path=str(speech), num_threads=1)
    interpreter.allocate_tensors()
    values = {"frame": frames[1], **model.state}
    details = interpreter.get_signature_runner("step").get_input_details()
    for name, value in values.items():
        interpreter.set_tensor(details[name]["index"], value[None])
    for _ in range(3):
        interpreter.invoke()
        for name, value in values.items():
            assert np.array_equal(interpreter.get_tensor(details[name]["index"])[0], value), name


def test_agrees_with_the_signature_runner(speech, frames):
    interpreter = Interpreter(model_path=str(speech), num_threads=1)
    runner = interpreter.get_signature_runner("step")
    state = {"lstm_h": np.zeros((1, 4), np.float32), "lstm_c": np.zeros((1, 4), np.float32)}
    model = EdgeModel(speech)
    for frame in frames:
        actual = runner(frame=frame[None], **state)
        state = {name: actual[name] for name in state}
        assert np.array_equal(model.step(frame), actual["output"][0])
        assert all(np.array_equal(model.state[name], state[name][0]) for name in state)


def test_results_and_states_are_copies(speech, frames):
    model = EdgeModel(speech)
    first, state = model.step(frames[0]), model.state
    copies, kept_state = first.copy(), {name: value.copy() for name, value in state.items()}
    model.run(frames)
    assert np.array_equal(first, copies)
    assert all(np.array_equal(state[name], kept_state[name]) for name in state)
    first[:] = state["lstm_h"][:2] = 5.0
    assert not any((value == 5.0).any() for value in model.state.values())


def test_state_moves_to_another_model(speech, frames):
    first, second = EdgeModel(speech), EdgeModel(speech)
    first.run(frames[:20])
    second.state = first.state
    assert np.array_equal(first.run(frames[20:]), second.run(frames[20:]))


def test_models_do_not_share_state(speech, frames):
    first, second = EdgeModel(speech), EdgeModel(speech)
    expected = first.run(frames)
    first.reset()
    mixed = []
    for frame in frames:
        mixed.append(first.step(frame))
        second.step(-frame)
    assert np.array_equal(np.array(mixed), expected)


def good_state():
    return {"lstm_h": np.ones(4, np.float32), "lstm_c": np.ones(4, np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("lstm_c"), r"must hold \['lstm_c', 'lstm_h'\], got \['lstm_h'\]"),
        (lambda s: s.update(extra=1), "'extra'"),
        (lambda s: s.update(lstm_c=np.ones(5, np.float32)), r"`lstm_c`.*\(4,\).*\(5,\)"),
        (lambda s: s.update(lstm_c=np.ones((1, 4), np.float32)), r"`lstm_c`.*got \(1, 4\)"),
        (lambda s: s.update(lstm_c=np.ones(4)), "`lstm_c`.*float32.*float64"),
        (lambda s: s.update(lstm_c=[1, 1, 1, 1]), "`lstm_c`.*list"),
        (lambda s: s["lstm_c"].__setitem__(2, np.nan), "`lstm_c` must be finite"),
    ],
)
def test_a_bad_state_changes_nothing(speech, frames, change, message):
    model = EdgeModel(speech)
    model.run(frames)
    before, state = model.state, good_state()
    change(state)
    with pytest.raises(StateError, match=message):
        model.state = state
    assert all(np.array_equal(model.state[name], before[name]) for name in before)


def test_a_bad_frame_leaves_the_state(speech, frames):
    model, clean = EdgeModel(speech), EdgeModel(speech)
    expected = clean.run(frames)
    bad = frames[3].copy()
    bad[1] = np.nan
    results = []
    for frame in frames:
        for refused in (bad, frame.astype(np.float64), frame[:2], None):
            with pytest.raises(FrameError):
                model.step(refused)
        results.append(model.step(frame))
    assert np.array_equal(np.array(results), expected)


def test_a_bad_token_leaves_the_state(text, rng):
    tokens = rng.integers(5, size=10).astype(np.int32)
    model, clean = EdgeModel(text), EdgeModel(text)
    results = []
    for token in tokens:
        for refused in (5, -1, True, 1.0, 2**40):
            with pytest.raises(FrameError):
                model.step(refused)
        results.append(model.step(token))
    assert np.array_equal(np.array(results), clean.run(tokens))


def test_run_refuses_before_it_starts(speech, frames):
    model = EdgeModel(speech)
    model.run(frames[:5])
    before = model.state
    frames[7, 2] = np.inf
    with pytest.raises(FrameError, match=r"frame 7: .*inf at \(2,\)"):
        model.run(frames)
    for bad in (frames[:, :2], frames[0], frames.astype(np.float64), list(frames), None):
        with pytest.raises(FrameError, match="frames must be an array of shape"):
            model.run(bad)
    assert all(np.array_equal(model.state[name], before[name]) for name in before)


def test_run_refuses_a_bad_token(text):
    with pytest.raises(FrameError, match=r"frame 1: a token must be in 0\.\.4, got 9"):
        EdgeModel(text).run(np.array([1, 9, 2], np.int32))


@pytest.mark.parametrize("threads", [0, -1, 257, 1.0, True, "2", None])
def test_bad_num_threads(speech, threads):
    with pytest.raises(EdgeError, match=r"`num_threads` must be an int in 1..256, got"):
        EdgeModel(speech, threads)


def test_two_threads_compute_the_same(speech, frames):
    assert np.array_equal(EdgeModel(speech, 2).run(frames), EdgeModel(speech).run(frames))


def test_unknown_attributes_cannot_be_set(speech):
    with pytest.raises(AttributeError):
        EdgeModel(speech).sate = {}


def test_frees_its_interpreter(speech):
    model = EdgeModel(speech)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'{"name":"frame","shape":[3]', b'{"name":"frame","shape":[4]', None),
        (b'"name":"lstm_c","shape":[4]', b'"name":"lstm_c","shape":[5]', r"`lstm_c` is \[1, 4\]"),
        (b'"name":"lstm_c","shape":[4]', b'"name":"lstm_d","shape":[4]', "`lstm_[cd]` is "),
    ],
)
def test_a_manifest_of_another_model(speech, edit, old, new, message):
    with pytest.raises(ManifestError, match=message):
        EdgeModel(edit(speech, old, new))


def test_a_file_with_another_signature_is_refused(speech, edit):
    path = edit(speech, b"\x04\0\0\0step", b"\x04\0\0\0stop")
    with pytest.raises(ManifestError, match=r"its signatures are \['stop'\], not \['step'\]"):
        EdgeModel(path)


def test_what_the_interpreter_refuses_is_one_line(speech, sign, tmp_path):
    content = bytearray(speech.read_bytes())
    (model,) = struct.unpack_from("<I", content)
    (vtable,) = struct.unpack_from("<i", content, model)
    (version,) = struct.unpack_from("<H", content, model - vtable + 4)
    assert struct.unpack_from("<I", content, model + version) == (3,)
    struct.pack_into("<I", content, model + version, 7)
    path = tmp_path / "version.tflite"
    path.write_bytes(sign(bytes(content)))
    with pytest.raises(ManifestError, match=r"does not run here: .*version") as caught:
        EdgeModel(path)
    assert "\n" not in str(caught.value)
