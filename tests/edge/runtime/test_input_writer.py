"""What may go into an input tensor, for every kind of frame."""

import array
import pickle

import numpy as np
import pytest
from kgated_edge.errors import FrameError
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.runtime.input_writer import check_frames, frame_writer

SHAPES = [(3,), (12,), (256,), (257,), (2, 3), (4, 5, 6), (3, 100)]


@pytest.fixture(params=SHAPES, ids=str)
def spec(request):
    return TensorSpec("frame", request.param)


@pytest.fixture
def target(spec):
    return np.zeros(spec.shape, np.float32)


@pytest.fixture
def frame(spec, rng):
    return rng.normal(size=spec.shape).astype(np.float32)


def test_writes_a_frame(spec, target, frame):
    frame_writer(spec, target)(frame)
    assert np.array_equal(target, frame)


@pytest.mark.parametrize(
    "variant",
    [
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: np.flip(np.flip(a, -1).copy(), -1),
        np.asfortranarray,
        lambda a: pickle.loads(pickle.dumps(a)),
        lambda a: np.frombuffer(b"\0" + a.tobytes(), np.float32, offset=1).reshape(a.shape),
        lambda a: np.broadcast_to(a[..., :1], a.shape),
    ],
    ids=["strided", "reversed", "fortran", "unpickled", "unaligned", "broadcast"],
)
def test_memory_layouts_are_read_right(spec, target, frame, variant):
    rearranged = variant(frame)
    frame_writer(spec, target)(rearranged)
    assert target.tolist() == rearranged.tolist()


def test_read_only_frames_and_buffers(spec, target, frame):
    frame.flags.writeable = False
    frame_writer(spec, target)(frame)
    assert np.array_equal(target, frame)
    vector = TensorSpec("frame", (3,))
    memory = np.zeros(3, np.float32)
    frame_writer(vector, memory)(array.array("f", [1, 2, 3]))
    assert memory.tolist() == [1, 2, 3]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -np.nan])
def test_refuses_what_is_not_finite_anywhere(spec, target, frame, bad):
    write = frame_writer(spec, target)
    for place in range(spec.size):
        broken = frame.copy()
        broken.flat[place] = bad
        with pytest.raises(FrameError, match="a frame must be finite, got"):
            write(broken)
    write(frame)


def test_the_largest_numbers_are_accepted(spec, target, frame):
    limit = np.finfo(np.float32).max
    frame.flat[0], frame.flat[-1] = limit, -limit
    frame_writer(spec, target)(frame)
    assert np.array_equal(target, frame)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda a: a[None], r"drop the batch axis: frame\[0\]"),
        (lambda a: a[..., :-1], "one frame of the shape"),
        (lambda a: a.reshape(-1)[:1], "one frame of the shape"),
        (lambda a: a.astype(np.float64), r"convert it: frame.astype\(np.float32\)"),
        (lambda a: a.astype(np.float16), r"convert it: frame.astype\(np.float32\)"),
        (lambda a: a.astype(np.int32), r"convert it: frame.astype\(np.float32\)"),
        (lambda a: a.astype(">f4"), r"convert it: frame.astype\(np.float32\)"),
        (lambda a: a.astype(object), r"convert it: frame.astype\(np.float32\)"),
        (lambda a: a.tolist(), r"got a list: pass np.asarray\(frame, np.float32\)"),
        (lambda a: None, "got a NoneType"),
        (lambda a: 1.0, "got a float"),
        (lambda a: "frame", "got a str"),
        (lambda a: a.tobytes(), "got a bytes"),
        (lambda a: np.float32(1.0), "got a float32"),
    ],
)
def test_refuses_other_shapes_and_dtypes(spec, target, frame, change, hint):
    with pytest.raises(FrameError, match=hint) as caught:
        frame_writer(spec, target)(change(frame))
    message = str(caught.value)
    assert message.startswith("a frame must be an array of shape (")
    assert "\n" not in message


def test_the_error_names_the_expected_and_the_received_shape():
    write = frame_writer(TensorSpec("frame", (3,)), np.zeros(3, np.float32))
    with pytest.raises(FrameError) as caught:
        write(np.zeros((2, 4)))
    assert str(caught.value) == (
        "a frame must be an array of shape (3,) and dtype float32, got shape (2, 4) and dtype "
        "float64: pass one frame of the shape that the model was trained on"
    )


@pytest.fixture
def token():
    return TensorSpec("frame", (), "int32", vocabulary=7)


def test_writes_tokens(token):
    memory = np.zeros((), np.int32)
    write = frame_writer(token, memory)
    for value in range(7):
        write(value)
        assert memory == value


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (7, r"must be in 0\.\.6, got 7"),
        (-1, r"must be in 0\.\.6, got -1"),
        (2**70, r"must be in 0\.\.6"),
        (np.uint64(2**63), r"must be in 0\.\.6"),
        (True, "one integer token, got a bool"),
        (np.True_, "one integer token, got a bool"),
        (np.array(True), r"got shape \(\) and dtype bool"),
        (1.0, "one integer token, got a float"),
        (np.float32(1), "one integer token, got a float32"),
        (np.array([1]), r"got shape \(1,\) and dtype int64"),
        (np.array(1.0), r"got shape \(\) and dtype float64"),
        ("a", "one integer token, got a str"),
        (None, "one integer token, got a NoneType"),
    ],
)
def test_refuses_other_tokens(token, bad, message):
    memory = np.full((), 3, np.int32)
    with pytest.raises(FrameError, match=message):
        frame_writer(token, memory)(bad)
    assert memory == 3


def test_checks_sequences_of_any_rank(spec, frame):
    sequence = np.stack([frame, frame])
    check_frames(spec, sequence)
    sequence[1].flat[-1] = np.nan
    with pytest.raises(FrameError, match="frame 1: a frame must be finite, got nan"):
        check_frames(spec, sequence)
    with pytest.raises(FrameError, match=r"frames must be an array of shape \(T, "):
        check_frames(spec, np.zeros((), np.float32))
