"""Functions of TensorFlow that each conversion makes anew do not warn of frequent tracing."""

import logging

import pytest
import tensorflow as tf

from kgated.keras_internals.tensorflow_private import without_tracing_warning

CALLS = 12  # TensorFlow warns from the fifth


@pytest.fixture
def warnings_of_tracing(monkeypatch):
    """The messages of TensorFlow's log."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = tf.get_logger()
    monkeypatch.setattr(logger, "level", logging.WARNING)
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


@pytest.mark.parametrize("is_warned", [True, False])
def test_functions_of_one_place_are_traced_without_a_warning(is_warned, warnings_of_tracing):
    results = []
    for factor in range(CALLS):
        traced = tf.function(lambda x, factor=factor: x * factor)
        call = traced if is_warned else without_tracing_warning(traced)
        results.append(float(call(tf.constant(2.0))))
    assert results == [2.0 * factor for factor in range(CALLS)]
    assert any("retracing" in message for message in warnings_of_tracing) == is_warned
