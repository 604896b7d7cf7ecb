"""Files with signatures for many sessions: each session gets what it gets alone, and Keras says."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, SessionPool, check, selftest
from kgated_edge.runtime.session_rounds import plan_groups
from streams import randomize
from typer.testing import CliRunner

import kgated
from kgated.errors import ConversionError
from kgated_cli.app import app

L = keras.layers
SESSIONS, T, F = 10, 6, 5
X_SHAPE = (SESSIONS + 9, T, F)
RECIPES = {  # the largest error against Keras
    "none": 1e-5,
    "float16": 2e-3,
    "dynamic": 0.05,
    "dynamic4": 0.4,
    "int8": 0.15,
    "int16x8": 0.08,
}
WITH_PLAIN_FILE = ("none", "dynamic", "int8")


def classifier():
    stack = [L.Conv1D(6, 3, padding="causal"), kgated.PeepholeLSTM(6), L.Dense(3)]
    return keras.Sequential([keras.Input((None, F)), *stack])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """By recipe a model, a plain file where the test needs it, and its file with sessions."""
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("sessions")
    x = rng.normal(size=X_SHAPE).astype(np.float32)
    keras.utils.set_random_seed(2)
    model = randomize(classifier(), rng)

    def convert(quantize):
        options = {"mode": "stream", "quantize": quantize, "calibration": x}
        many, plain = (folder / f"{quantize}_{kind}.tflite" for kind in ("many", "plain"))
        kgated.to_tflite(model, many, sessions=SESSIONS, **options)
        if quantize in WITH_PLAIN_FILE:
            kgated.to_tflite(model, plain, **options)
        return model, plain if plain.exists() else many, many

    return {name: convert(name) for name in RECIPES}


@pytest.mark.parametrize("quantize", RECIPES)
def test_sessions_together_are_sessions_alone(files, quantize, x):
    model, plain, many = files[quantize]
    pool = SessionPool(many)
    assert pool.manifest.sessions == (8, SESSIONS)
    sessions = [pool.open() for _ in x]
    together = np.stack([pool.step(sessions, x[:, t]) for t in range(T)], axis=1)
    separate = np.stack([EdgeModel(plain).run(frames) for frames in x])
    limit = 0.0 if quantize.startswith("int") else 1e-6
    assert np.abs(together - separate).max() <= limit
    expected = np.asarray(model(x, training=False))
    assert np.abs(together[:, -1] - expected).max() <= RECIPES[quantize]
    assert np.abs(together[:, -1] - expected[::-1]).max() > RECIPES[quantize]


@pytest.mark.parametrize("quantize", ["none", "dynamic", "int8"])
def test_a_session_does_not_depend_on_its_neighbours(files, quantize, x):
    pool, results = SessionPool(files[quantize][2]), []
    for neighbours in (x[1:SESSIONS], 100 * x[1:SESSIONS], 0 * x[1:SESSIONS]):
        sessions = [pool.open() for _ in range(SESSIONS)]
        rows = np.concatenate([x[:1], neighbours])
        results.append([pool.step(sessions, rows[:, t])[0] for t in range(T)])
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_any_order_number_and_repetition_of_sessions(files, x, rng):
    pool, plain = SessionPool(files["dynamic"][2]), EdgeModel(files["dynamic"][1])
    sessions = [pool.open() for _ in range(600)]  # in several arrays of states
    steps = {n: [] for n in range(600)}
    for _ in range(12):
        chosen = rng.integers(600, size=rng.integers(1, 40))
        chosen = np.concatenate([chosen, chosen[:2]])  # these take two steps
        frames = rng.normal(size=(len(chosen), F)).astype(np.float32)
        results = pool.step([sessions[n] for n in chosen], frames)
        for n, frame, result in zip(chosen, frames, results, strict=True):
            steps[n].append((frame, result))
    for taken in (taken for taken in steps.values() if taken):
        plain.reset()
        expected = plain.run(np.stack([frame for frame, _ in taken]))
        np.testing.assert_allclose(np.stack([y for _, y in taken]), expected, atol=1e-6)


def test_states_go_between_pool_and_model(files, x):
    pool, plain = SessionPool(files["int8"][2]), EdgeModel(files["int8"][1])
    sessions = [pool.open() for _ in range(SESSIONS)]
    pool.step(sessions, x[:SESSIONS, 0])
    plain.step(x[3, 0])
    for name, state in plain.state.items():
        assert np.array_equal(state, sessions[3].state[name])
    sessions[3].reset()
    plain.reset()
    y = pool.step(sessions, x[:SESSIONS, 1])
    assert np.array_equal(y[3], plain.step(x[3, 1]))
    del sessions[3]
    assert not any(np.any(state != s.zero_point) for s, state in _states(pool.open()))


def _states(session):
    return [(spec, session.state[spec.name]) for spec in session.manifest.states]


def test_a_group_is_used_where_half_of_it_is():
    def sizes(count):
        return [group.size for group in plan_groups(range(count), (8, 64))]

    assert sizes(64) == [64]
    assert sizes(3) == [1]
    assert sizes(4) == [8]
    assert sizes(64 + 20 + 1) == [64, 8, 8, 8]
    assert sizes(64 + 33) == [64, 64]
    assert sizes(0) == []


def test_the_file_runs_as_one_stream_and_tests_itself(files, x):
    _, plain, many = files["dynamic"]
    assert np.array_equal(EdgeModel(many).run(x[0]), EdgeModel(plain).run(x[0]))
    assert selftest(many).passed
    assert many.stat().st_size < plain.stat().st_size + 2 * 6000


def test_a_large_file_grows_by_a_tenth_at_most(tmp_path):
    model = keras.Sequential([keras.Input((None, 40)), kgated.PeepholeLSTM(128), L.Dense(10)])
    sizes = [
        kgated.to_tflite(
            model, tmp_path / f"{n}.tflite", mode="stream", quantize="dynamic", sessions=n
        ).file_bytes
        for n in (1, 64)
    ]
    assert sizes[1] <= 1.1 * sizes[0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sessions": 0}, "`sessions` must be an integer of at least 1"),
        ({"sessions": 8, "mode": "sequence", "length": 4}, "is for `mode='stream'`"),
        ({"sessions": 8, "batch": 2}, "leave one out"),
        ({"sessions": 8, "state": "internal"}, "needs `state='external'`"),
        ({"sessions": 8, "target": "mcu", "quantize": "int8"}, "leave `sessions` out"),
    ],
)
def test_options_that_exclude_each_other(options, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        kgated.to_tflite(classifier(), tmp_path / "no.tflite", **{"mode": "stream", **options})
    assert not list(tmp_path.iterdir())


@keras.saving.register_keras_serializable("tests")
class OverBatch(L.Layer):
    """Subtracts the sum of a stream's features, which it puts on the first axis before."""

    def call(self, x):
        """See the class."""
        return x - keras.ops.expand_dims(keras.ops.sum(keras.ops.transpose(x), axis=0), -1)


def test_a_layer_that_works_on_the_first_axis_is_refused_by_name(tmp_path):
    x = keras.Input((None, F))
    y = OverBatch(name="over_batch")(kgated.GRU(4)(x))
    with pytest.raises(
        ConversionError, match=r"`sessions` can't take streams together.*over_batch"
    ):
        kgated.to_tflite(keras.Model(x, y), tmp_path / "no.tflite", mode="stream", sessions=8)


def test_the_command(tmp_path):
    classifier().save(tmp_path / "m.keras")
    output = str(tmp_path / "m.tflite")
    arguments = ["convert", str(tmp_path / "m.keras"), output, "--mode", "stream"]
    result = CliRunner().invoke(app, [*arguments, "--sessions", "8"])
    assert result.exit_code == 0, result.output
    assert SessionPool(output).manifest.sessions == (8,)


def test_a_pool_refuses_files_of_a_fixed_batch(tmp_path):
    conversion = kgated.to_tflite(classifier(), tmp_path / "b.tflite", mode="stream", batch=2)
    with pytest.raises(EdgeError, match="`sessions`"):
        SessionPool(conversion.path)


def test_a_damaged_row_is_found(files, x, monkeypatch):
    """The check at conversion sees sessions that get each other's states."""
    from kgated_edge.runtime.session_states import SessionStates

    store = SessionStates.store

    def swapped(self, parts, sources):
        store(self, parts, [source[::-1] for source in sources])

    monkeypatch.setattr(SessionStates, "store", swapped)
    with pytest.raises(ConversionError, match="differ from those of each alone"):
        kgated.to_tflite(
            files["none"][0], files["none"][1].with_name("no.tflite"), mode="stream", sessions=8
        )


def test_check_counts_the_signatures(files, x):
    result = check(files["int8"][2], {"x": x, "y": np.zeros(len(x), np.int64)})
    assert result.golden_ok
