"""Objects of the runner refuse to be copied or pickled, and say what to do in place of it."""

import copy
import pickle

import pytest
from kgated_edge import EdgeModel, SequenceModel, SessionPool


@pytest.fixture(params=["EdgeModel", "Session", "SessionPool", "SequenceModel"])
def shared(request, speech, fixture_file):
    """An object, and a word of its message."""
    pool = SessionPool(speech)
    return {
        "EdgeModel": (EdgeModel(speech), "save_state"),
        "Session": (pool.open(), r"open\(\) another session"),
        "SessionPool": (pool, r"clone\(\)"),
        "SequenceModel": (SequenceModel(fixture_file("whole")), "open the file again"),
    }[request.param]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_is_refused_with_what_to_do(shared, copied):
    value, message = shared
    with pytest.raises(TypeError, match=f"a {type(value).__name__} can't be copied.*{message}"):
        copied(value)
