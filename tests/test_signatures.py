"""Our constructors are Keras's: names, order and defaults, but for the differences listed here."""

import inspect

import keras
import pytest

import kgated

LSTM_VARIANTS = {"coupled_gates": False, "projection_units": None, "layer_norm": False}
PEEPHOLES = {
    "peephole": "diagonal",
    "output_peephole": "current",
    "peephole_initializer": "zeros",
    "peephole_regularizer": None,
    "peephole_constraint": None,
}
GRU_VARIANTS = {"update_gate": "candidate"}

# (ours, Keras's, arguments that ours lacks, defaults that differ, arguments that ours adds)
LAYERS = [
    (kgated.LSTM, keras.layers.LSTM, {"use_cudnn"}, {}, LSTM_VARIANTS),
    (kgated.PeepholeLSTM, keras.layers.LSTM, {"use_cudnn"}, {}, LSTM_VARIANTS | PEEPHOLES),
    (kgated.GRU, keras.layers.GRU, {"use_cudnn"}, {"reset_after": False}, GRU_VARIANTS),
]
# Cells pass Keras's own arguments on to Keras's own cell, so that only what they add is theirs.
CELLS = [
    (kgated.LSTMCell, keras.layers.LSTMCell, {}, LSTM_VARIANTS),
    (kgated.PeepholeLSTMCell, keras.layers.LSTMCell, {}, LSTM_VARIANTS | PEEPHOLES),
    (kgated.GRUCell, keras.layers.GRUCell, {"reset_after": False}, GRU_VARIANTS),
]


def arguments(constructor):
    parameters = inspect.signature(constructor).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}


@pytest.mark.parametrize(("gated", "stock", "lacking", "changed", "added"), LAYERS)
def test_layer_signature(gated, stock, lacking, changed, added):
    expected = {k: v for k, v in arguments(stock).items() if k not in lacking}
    # Keras puts `reset_after` last of all; so do we, before what we add.
    assert list(arguments(gated).items()) == list({**expected, **changed, **added}.items())
    assert lacking <= set(arguments(stock))


@pytest.mark.parametrize(("gated", "stock", "changed", "added"), CELLS)
def test_cell_options(gated, stock, changed, added):
    keywords = {}
    for base in gated.__mro__[: gated.__mro__.index(stock)]:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            keywords |= {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert keywords == {**changed, **added}
    config, expected = gated(4, name="cell").get_config(), stock(4, name="cell").get_config()
    assert {k: v for k, v in config.items() if k not in added} == {**expected, **changed}
    assert set(config) - set(expected) == set(added)


@pytest.mark.parametrize("gated", [row[0] for row in LAYERS])
def test_every_argument_may_be_given_by_position(gated):
    values = list(arguments(gated).values())[1:]
    by_position = gated(4, *values)
    assert {**by_position.get_config(), "name": ""} == {**gated(4).get_config(), "name": ""}


def test_call_arguments_are_those_of_keras():
    for gated, stock, *_ in LAYERS:
        expected = inspect.signature(stock.call).parameters
        assert list(inspect.signature(gated.call).parameters) == list(expected)
