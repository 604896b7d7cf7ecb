"""The coverage table contains every layer and activation, and its evaluation can fail."""

import inspect

import keras
import numpy as np
import pytest
from benchmarks.coverage import activations, excluded, layers, operations
from benchmarks.coverage.outcome import judged, outcome
from benchmarks.coverage.page import COLUMNS, general, page


def public_classes():
    """The names of each class of `keras.layers`, aliases together."""
    names = {}
    for name, kind in inspect.getmembers(keras.layers, inspect.isclass):
        names.setdefault(kind, set()).add(name)
    return list(names.values())


def test_every_layer_of_keras_has_a_row_or_a_reason():
    rows = {row.subject for row in layers.ROWS}
    assert [n for n in public_classes() if not n & (rows | set(excluded.LAYERS))] == []
    assert rows & set(excluded.LAYERS) == set()
    known = set().union(*public_classes())
    assert rows | set(excluded.LAYERS) <= known


def test_every_activation_of_keras_has_a_row():
    rows = {row.name for row in activations.ROWS}
    functions = inspect.getmembers(keras.activations, inspect.isfunction)
    assert {f.__name__ for name, f in functions if name not in excluded.ACTIVATIONS} == rows


def test_rows_have_names_of_their_own():
    names = [row.name for row in (*layers.ROWS, *operations.ROWS, *activations.ROWS)]
    assert len(set(names)) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["UnitNormalization"])
def test_a_row_that_converts_in_every_column(name):
    outcomes = {column: outcome(name, *column) for column in COLUMNS}
    assert {column: x["outcome"] for column, x in outcomes.items()} == dict.fromkeys(
        COLUMNS, "right"
    )
    assert outcomes["sequence", "none"]["error"] < 1e-5
    assert outcomes["sequence", "int8"]["rmse_of_spread"] > 1e-4  # integers, not floats


def test_a_row_that_is_refused_with_its_reason():
    refused = outcome("Bidirectional (LSTM)", "stream", "none")
    assert refused["outcome"] == "refused"
    assert "`subject` (Bidirectional) can't stream" in refused["reason"]


def test_wrong_numbers_are_noticed():
    expected = np.linspace(-1, 1, 8)
    assert judged([(expected, expected)], 1e-4, 1.0)["outcome"] == "right"
    assert judged([(expected + 2e-4, expected)], 1e-4, 1.0)["outcome"] == "wrong numbers"
    assert judged([(expected + 0.1, expected)], 0.3, 1.0)["outcome"] == "wrong numbers"  # a bias
    infinite = np.where(expected > 0.9, np.inf, expected)
    assert judged([(infinite, expected)], 0.3, 1.0)["outcome"] == "wrong numbers"


def test_the_page_counts_and_gives_each_reason_once():
    refusal = {"outcome": "refused", "reason": "layer `a` (Dot) can't stream: convert with `x`"}
    cells = {
        ("Dot", "stream", "none"): refusal,
        ("Add", "stream", "none"): {**refusal, "reason": refusal["reason"].replace("`a`", "`b`")},
        ("Add", "sequence", "int8"): {"outcome": "right", "rmse_of_spread": 0.0123},
        ("tanh", "stream", "int8"): {"outcome": "crashed (SIGABRT)"},
    }
    text = page(cells, {"Layers": ["Add", "Dot"], "Activations": ["tanh"]}, "command", "day")
    assert "| stream | none | 0 | 2 | 0 |" in text
    assert "| stream | int8 | 0 | 0 | 1 |" in text
    assert "| Dot | 1 | - |" in text
    assert "NO: crashed (SIGABRT)" in text
    assert "1. the layer can't stream: convert with `x`" in text
    assert "\n2. " not in text
    assert "| Add | 1.23 | - |" in text


def test_reasons_lose_what_only_their_row_has():
    first = general("recipe stream-int8 has no kernel for CONV_3D (layer `a`); error 0.31")
    assert first == "recipe int8 has no kernel for CONV_3D ; error ..."
