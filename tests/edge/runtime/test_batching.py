"""Several inputs and outputs, blocks of frames, and state inside the file."""

import numpy as np
import pytest
from kgated_edge import (
    DataError,
    EdgeError,
    EdgeModel,
    FrameError,
    SequenceData,
    StateError,
    check,
    load_npz,
    read_manifest,
    selftest,
)
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.runtime.input_writer import frame_writer

TOLERANCE = 1e-5
FRAMES = 21  # an odd number: one is left over


@pytest.fixture
def frames(rng):
    sound = rng.normal(size=(FRAMES, 3)).astype(np.float32)
    return {"sound": sound, "word": rng.integers(5, size=FRAMES).astype(np.int32)}


@pytest.fixture
def blocks(fixture_file):
    """Two inputs, two outputs, two frames per step."""
    return fixture_file("blocks")


@pytest.fixture
def inside(fixture_file):
    """`speech` with its state inside."""
    return fixture_file("inside")


def equations(path, frames):
    """Both outputs of `blocks` at every step, in float64 from the weights beside the file."""
    with np.load(path.with_suffix(".npz")) as arrays:
        w = {name: array.astype(np.float64) for name, array in arrays.items()}
    tokens = frames["word"]
    x = np.concatenate([frames["sound"], w["embedding_embeddings"][tokens]], -1)
    kernel = w["convolution_kernel"]
    padded = np.concatenate([np.zeros((2, 5)), x])
    h = c = np.zeros(4)
    each, full, actual = [], [], []
    for t in range(0, len(x) - 1, 2):
        window = np.einsum("kf,kfc->c", padded[t : t + 3], kernel) + w["convolution_bias"]
        z = window @ w["lstm_kernel"] + h @ w["lstm_recurrent_kernel"] + w["lstm_bias"]
        i, f, g, o = np.split(z, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        actual.append(h)
        logits = np.exp(h @ w["each_kernel"] + w["each_bias"])
        each.append(logits / logits.sum())
        full.append(np.mean(actual, 0) @ w["whole_kernel"] + w["whole_bias"])
    return {"each": np.array(each), "whole": np.array(full)}


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def test_runs_compute_the_equations(blocks, frames):
    outputs, expected = EdgeModel(blocks).run(frames), equations(blocks, frames)
    for name in ("each", "whole"):
        assert outputs[name].shape == expected[name].shape == (FRAMES // 2, len(expected[name][0]))
        assert np.abs(outputs[name] - expected[name]).max() <= TOLERANCE


def test_the_tolerance_sees_frames_that_are_not_kept(blocks, frames):
    model = EdgeModel(blocks)
    for name in ("convolution_frames", "lstm_c"):
        actual = []
        model.reset()
        for t in range(0, FRAMES - 1, 2):
            model.state = model.state | {name: np.zeros_like(model.state[name])}
            actual.append(model.step({key: x[t : t + 2] for key, x in frames.items()})["each"])
        assert np.abs(actual - equations(blocks, frames)["each"]).max() > 100 * TOLERANCE


def test_run_is_steps(blocks, frames):
    full, model = EdgeModel(blocks).run(frames), EdgeModel(blocks)
    for n in range(FRAMES // 2):
        result = model.step({name: x[2 * n : 2 * n + 2] for name, x in frames.items()})
        assert all(np.array_equal(result[name], full[name][n]) for name in full)


def test_results_are_copies(blocks, frames):
    model = EdgeModel(blocks)
    block = {name: x[:2] for name, x in frames.items()}
    first = model.step(block)
    copies = {name: value.copy() for name, value in first.items()}
    model.run(frames)
    assert all(np.array_equal(first[name], copies[name]) for name in copies)


def test_the_manifest_has_the_block(blocks):
    manifest = read_manifest(blocks)
    assert manifest.frames_per_step == 2
    assert [frame.shape for frame in manifest.frames] == [(3,), ()]
    assert [block.shape for block in manifest.blocks] == [(2, 3), (2,)]
    assert [output.name for output in manifest.outputs] == ["each", "whole"]
    with pytest.raises(EdgeError, match=r"this has \['sound', 'word'\]: use `frames`"):
        assert manifest.frame
    with pytest.raises(EdgeError, match=r"this has \['each', 'whole'\]: use `outputs`"):
        assert manifest.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.pop("word"), r"takes a dict of \['sound', 'word'\], got \['sound'\]"),
        (lambda b: b.update(more=1), "got .*'more'"),
        (lambda b: b.update(sound=b["sound"][0]), r"input `sound`: .*\(2, 3\).*got shape \(3,\)"),
        (lambda b: b["sound"].__setitem__((1, 2), np.nan), r"`sound`: .*got nan at \(1, 2\)"),
        (lambda b: b["word"].__setitem__(1, 5), r"`word`: a token must be in 0\.\.4, got 5"),
        (lambda b: b.update(word=3), r"`word`: .*\(2,\) and dtype int32, got a int"),
    ],
)
def test_a_bad_block_leaves_the_state(blocks, frames, change, message):
    model, clean = EdgeModel(blocks), EdgeModel(blocks)
    bad = {name: x[:2].copy() for name, x in frames.items()}
    change(bad)
    with pytest.raises(FrameError, match=message):
        model.step(bad)
    outputs, expected = model.run(frames), clean.run(frames)
    assert all(np.array_equal(outputs[name], expected[name]) for name in expected)


def test_run_refuses_before_it_starts(blocks, frames):
    model = EdgeModel(blocks)
    before = model.state
    for change, message in [
        ({"word": frames["word"][1:]}, "must have the same number of frames"),
        ({"sound": frames["sound"][:, :2]}, "input `sound`: frames must be an array"),
    ]:
        with pytest.raises(FrameError, match=message):
            model.run(frames | change)
    with pytest.raises(FrameError, match="takes a dict of"):
        model.run(frames["sound"])
    assert all(np.array_equal(model.state[name], before[name]) for name in before)


def test_a_block_of_tokens_alone():
    memory = np.zeros(2, np.int32)
    write = frame_writer(TensorSpec("word", (2,), "int32", vocabulary=7), memory)
    write(np.array([3, 6], np.int32))
    assert memory.tolist() == [3, 6]
    with pytest.raises(FrameError, match=r"must be in 0\.\.6, got -1"):
        write(np.array([3, -1], np.int32))


@pytest.fixture
def data(blocks, rng):
    """Ten sequences with a label per frame, right at the last frame of each block."""
    count, maximum = 10, 9
    inputs = {
        "sound": rng.normal(0, 2, size=(count, maximum, 3)).astype(np.float32),
        "word": rng.integers(5, size=(count, maximum)).astype(np.int32),
    }
    lengths, y = rng.integers(2, maximum + 1, size=count), np.full((count, maximum), -1)
    for n, length in enumerate(lengths):
        each = equations(blocks, {name: x[n, :length] for name, x in inputs.items()})["each"]
        decisions = each.argmax(-1)
        y[n, :length] = 1 - decisions[0]
        y[n, 1 : 2 * len(decisions) : 2] = decisions
    return SequenceData(inputs["sound"], lengths, y, inputs)


def test_a_label_per_frame_is_scored_at_the_end_of_its_block(blocks, data):
    result = check(blocks, data)
    assert result.accuracy == 1.0
    assert result.steps == (data.lengths // 2).sum()
    wrong = data.y.copy()
    wrong[0, 1] = 1 - wrong[0, 1]
    report = check(blocks, SequenceData(data.x, data.lengths, wrong, data.inputs)).accuracy
    assert report == pytest.approx(1 - 1 / result.steps)


def test_a_label_per_sequence_is_scored_at_the_last_step(blocks, data):
    last = data.y[np.arange(len(data)), data.lengths // 2 * 2 - 1]
    assert check(blocks, SequenceData(data.x, data.lengths, last, data.inputs)).accuracy == 1.0


def test_a_step_has_the_time_of_its_block(blocks, data):
    result = check(blocks, data)
    assert result.real_time_factor == pytest.approx(result.latency_us_mean / 20_000)


def test_the_file_holds_an_array_per_input(command, error, blocks, data, tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, **data.inputs, lengths=data.lengths, y=data.y)
    assert np.array_equal(load_npz(path, ["sound", "word"]).inputs["word"], data.inputs["word"])
    assert command("check", blocks, "--data", path, "--min-accuracy", 1)[0] == 0
    np.savez(path, x=data.x, word=data.inputs["word"])
    assert "no array `sound`, only x, word" in error("check", blocks, "--data", path)
    np.savez(path, sound=data.x, word=data.inputs["word"][:, :-1])
    assert "`word` must hold N, T = (10, 9)" in error("check", blocks, "--data", path)


def test_data_that_do_not_fit(blocks, speech, data):
    with pytest.raises(DataError, match=r"takes the inputs \['sound', 'word'\], got `x` alone"):
        check(blocks, SequenceData(data.x, data.lengths))
    with pytest.raises(DataError, match=r"takes the inputs \['frame'\], got \['sound', 'word'\]"):
        check(speech, data)
    short = data.lengths.copy()
    short[3] = 1
    with pytest.raises(DataError, match=r"2 frames or more.*got 1 in sequence 3"):
        check(blocks, SequenceData(data.x, short, None, data.inputs))


def test_selftest(blocks, inside):
    for path in (blocks, inside):
        result = selftest(path)
        assert result.passed
    assert selftest(blocks).golden_frames == 12


def test_a_perturbed_second_output_fails_the_selftest(blocks, edit):
    content = blocks.read_bytes()
    start = content.index(b'"base64":"', content.index(b'"whole":{"shape"')) + len(b'"base64":"')
    old = content[start : start + 20]
    assert not selftest(edit(blocks, old, b"AACAPw" + old[6:])).passed


def test_state_inside_computes_the_same(speech, inside, rng):
    frames = rng.normal(size=(40, 3)).astype(np.float32)
    outside, model = EdgeModel(speech), EdgeModel(inside)
    first = model.run(frames)
    assert np.array_equal(first, outside.run(frames))
    second = model.run(frames)
    assert np.array_equal(second, outside.run(frames))
    assert np.abs(first - second).max() > 100 * TOLERANCE, "state was not carried on"
    for _ in range(2):
        model.reset()
        assert np.array_equal(model.run(frames), first)


def test_state_inside_is_its_models_own(inside, rng):
    frames = rng.normal(size=(10, 3)).astype(np.float32)
    model, second = EdgeModel(inside), EdgeModel(inside)
    expected = model.run(frames)
    model.reset()
    mixed = [(model.step(frame), second.step(-frame))[0] for frame in frames]
    assert np.array_equal(mixed, expected)


def test_state_inside_is_not_shown(inside):
    model = EdgeModel(inside)
    with pytest.raises(StateError, match='convert the model with state="external"'):
        assert model.state
    with pytest.raises(StateError, match="keeps its state inside"):
        model.state = {}
    assert model.manifest.states == ()
