"""An interpreter that fails in a step: one clear error, and the state is as before."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from kgated_edge import EdgeError, EdgeModel, SequenceModel, SessionPool
from kgated_edge.runtime import interpreter

REASON = "gather index out of bounds\nNode number 5 failed to invoke."
ERROR = "cannot run this model: gather index out of bounds Node number 5"


@pytest.fixture
def breakdown(monkeypatch):
    """A function after which every interpreter of this test fails."""
    is_broken = []

    class Failing(Interpreter):
        def invoke(self):
            if is_broken:
                raise RuntimeError(REASON)
            super().invoke()

    monkeypatch.setattr(interpreter, "Interpreter", Failing)
    return lambda: is_broken.append(True)


def test_a_failing_step_of_a_model_leaves_the_state(speech, frames, breakdown):
    model = EdgeModel(speech)
    model.run(frames)
    before = model.state
    breakdown()
    with pytest.raises(EdgeError, match=ERROR):
        model.step(frames[0])
    assert all(np.array_equal(model.state[name], value) for name, value in before.items())


def test_a_failing_sequence(fixture_file, frames, breakdown):
    model = SequenceModel(fixture_file("whole"))
    breakdown()
    with pytest.raises(EdgeError, match=ERROR):
        model.run(frames)


def test_a_failing_step_of_a_pool_leaves_the_states(speech, frames, breakdown):
    pool = SessionPool(speech)
    sessions = [pool.open() for _ in frames]
    pool.step(sessions, frames)
    before = [session.state for session in sessions]
    breakdown()
    for act in (lambda: pool.step(sessions, frames), lambda: sessions[0].step(frames[0])):
        with pytest.raises(EdgeError, match=ERROR):
            act()
    for session, states in zip(sessions, before, strict=True):
        assert all(np.array_equal(session.state[name], x) for name, x in states.items())


@pytest.mark.parametrize("threads", [0, 257, 1.0, True])
def test_a_number_of_threads_out_of_range(speech, threads):
    with pytest.raises(EdgeError, match=r"`num_threads` must be an int in 1..256"):
        EdgeModel(speech, threads)
