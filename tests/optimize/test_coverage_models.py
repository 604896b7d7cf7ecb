"""quantize_aware, prune, cluster and from_keras over every layer of Keras: they work or refuse."""

import re

import pytest
from benchmarks.coverage.outcome import ROWS
from refusals import assert_refused

import kgated
from kgated.interop import from_keras

HALF = kgated.optimize.ConstantSparsity(0.5, 0)


def works_or_refuses(call, names):
    """Whether a call works; it may fail only with an error of kgated that has one of the names."""
    try:
        call()
    except Exception:
        assert_refused(call, "|".join(map(re.escape, names)))
        return False
    return True


def names_of(model):
    """The names of layers and operations that a refusal may give."""
    operations = [*model._flatten_layers(), *model.operations]
    return [f"`{name}`" for name in dict.fromkeys(operation.name for operation in operations)]


@pytest.fixture(scope="module")
def models():
    """A model for each layer and activation; of variants of a layer the first."""
    rows = {row.subject: row for row in reversed(ROWS.values())}
    return {subject: row.model() for subject, row in rows.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_training_in_integers_takes_a_model_or_names_the_layer(models):
    operations = [name for name in models if name.startswith("ops.")]
    left_out = set(operations[3:])  # an operation is refused by one rule, whichever it is
    taken = {
        name
        for name, model in models.items()
        if name not in left_out
        and works_or_refuses(lambda: kgated.quantize_aware(model), names_of(model))  # noqa: B023
    }
    assert {"LSTM", "Dense", "relu"} <= taken
    assert len(taken) < len(models)


def test_the_others_take_a_model_or_refuse_it(models):
    converted = 0
    for model in models.values():
        # Both need a kernel, which the Dense layers of nearly all rows have.
        needed = [*names_of(model), "`model` must have recurrent, Dense or convolution layers"]
        works_or_refuses(lambda: kgated.prune(model, HALF), needed)  # noqa: B023
        works_or_refuses(lambda: kgated.cluster(model, 4), needed)  # noqa: B023
        for layer in model.layers:
            names = [layer.name, type(layer).__name__]
            converted += works_or_refuses(lambda: from_keras(layer), names)  # noqa: B023
    assert converted > 3
