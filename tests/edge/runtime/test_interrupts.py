"""Ctrl-C between two lines of a step: the model, the session and the pool can be used again."""

import sys

import numpy as np
import pytest
from kgated_edge import EdgeModel, SessionPool

# Python handles signals at the start of a function and after a call.
MOMENTS = ("call", "return", "c_return")
MAX_MOMENTS = 2000


def interrupted(action, number):
    """Run an action, and raise KeyboardInterrupt in it at the moment of this number; whether."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in MOMENTS
        if count == number:
            raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def actions(speech, frame):
    """Calls that one thread at a time may make, by name."""
    model, pool = EdgeModel(speech), SessionPool(speech)
    model._quick = None  # the Python step also where there is a native one
    session = pool.open()
    session.step(frame)
    return {
        "model.step": lambda: model.step(frame),
        "model.reset": model.reset,
        "model.state": lambda: model.state,
        "session.step": lambda: session.step(frame),
        "session.state": lambda: session.state,
        "pool.step": lambda: pool.step([session], frame[None]),
    }


@pytest.mark.parametrize(
    "name",
    ["model.step", "model.reset", "model.state", "session.step", "session.state", "pool.step"],
)
def test_an_interrupt_leaves_the_model_to_the_next_call(name, speech):
    frame = np.ones(EdgeModel(speech).manifest.frame.shape, np.float32)
    action = actions(speech, frame)[name]
    number = 1
    while interrupted(action, number):
        action()
        number += 1
        assert number < MAX_MOMENTS
    assert number > 3
