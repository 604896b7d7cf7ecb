"""Views of a graph's memory, and the copies that carry state from one step to the next."""

import numpy as np
import pytest
from kgated_edge import ManifestError
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.runtime import tensor_views


def move(pairs):
    for target, source in tensor_views.state_copies(pairs):
        target[:] = source


def test_copies_all_to_all():
    targets = [np.zeros(3, np.float32), np.zeros((2, 2), np.float32)]
    sources = [np.arange(3, dtype=np.float32), np.full((2, 2), 7, np.float32)]
    move(list(zip(targets, sources, strict=True)))
    assert all(np.array_equal(*pair) for pair in zip(targets, sources, strict=True))


def test_states_that_change_places():
    """A graph may hand one state's input on as another's output."""
    first, second = np.full(2, 1, np.float32), np.full(2, 2, np.float32)
    pairs = [(first, second), (second, first)]
    move(pairs)
    assert (first.tolist(), second.tolist()) == ([2, 2], [1, 1])
    assert len(tensor_views.state_copies(pairs)) == 4
    assert len(tensor_views.state_copies([(first, np.zeros(2, np.float32))])) == 1


def test_a_view_is_the_memory():
    memory = np.arange(6, dtype=np.float32)
    view = tensor_views.view(memory.ctypes.data, TensorSpec("x", (2, 3)))
    assert view.tolist() == [[0, 1, 2], [3, 4, 5]]
    view[1, 2] = 9
    assert memory[5] == 9
    token = np.zeros(1, np.int32)
    tensor_views.view(token.ctypes.data, TensorSpec("x", (), "int32", vocabulary=4))[...] = 3
    assert token[0] == 3


def test_names_the_tensor_that_differs():
    details = {"x": {"shape": np.array([1, 2]), "dtype": np.float32}}
    tensor_views.check_tensors(details, [TensorSpec("x", (2,))])
    for specs, message in [
        ([TensorSpec("x", (3,))], r"`x` is \[1, 2\] float32, its manifest says \[1, 3\] float32"),
        ([TensorSpec("x", (2,), "int32")], r"`x` is .*, its manifest says \[1, 2\] int32"),
        ([], r"`x` is \[1, 2\] float32, its manifest says absent"),
        ([TensorSpec("x", (2,)), TensorSpec("h", (4,))], r"`h` is absent, its manifest says"),
    ]:
        with pytest.raises(ManifestError, match=message):
            tensor_views.check_tensors(details, specs)
