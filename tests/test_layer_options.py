"""The contract, continued: gradients, configuration, files, dropout, precision, penalties."""

import inspect

import keras
import numpy as np
import pytest
import reference
from keras import ops
from registry import BATCH, FEATURES, ROWS, TIME, UNITS, inputs, values, weights_of

import kgated

# Every argument that RNN layers share, off its default.
OFF_DEFAULT = {
    "activation": "relu",
    "recurrent_activation": "hard_sigmoid",
    "use_bias": False,
    "kernel_initializer": "he_normal",
    "recurrent_initializer": "glorot_normal",
    "bias_initializer": "ones",
    "unit_forget_bias": False,
    "kernel_regularizer": keras.regularizers.L1(0.1),
    "recurrent_regularizer": keras.regularizers.L2(0.2),
    "bias_regularizer": keras.regularizers.L1L2(0.3, 0.4),
    "activity_regularizer": keras.regularizers.L1(0.5),
    "kernel_constraint": "non_neg",
    "recurrent_constraint": keras.constraints.MaxNorm(3.0),
    "bias_constraint": keras.constraints.UnitNorm(),
    "dropout": 0.25,
    "recurrent_dropout": 0.125,
    "seed": 7,
    "return_sequences": True,
    "return_state": True,
    "go_backwards": True,
    "stateful": True,
    "unroll": True,
    "zero_output_for_mask": True,
    "name": "named",
    "trainable": False,
    "dtype": "mixed_bfloat16",
    "coupled_gates": True,
    "projection_units": 3,
    "layer_norm": True,
    "peephole": "full",
    "output_peephole": "previous",
    "peephole_initializer": "uniform",
    "peephole_regularizer": keras.regularizers.L1(0.6),
    "peephole_constraint": "non_neg",
    "reset_after": True,
    "update_gate": "state",
}
X_SHAPE = (BATCH, TIME, FEATURES)
OF_EVERY_LAYER = {"name", "trainable", "dtype", "zero_output_for_mask"}
CLASSES = tuple(dict.fromkeys(row.layer for row in ROWS))

LSTMS = (kgated.LSTM, kgated.PeepholeLSTM)


@pytest.fixture(params=ROWS, ids=str)
def row(request):
    return request.param


@pytest.fixture(params=CLASSES, ids=lambda c: c.__name__)
def layer_class(request):
    return request.param


def close(gated, reference, tolerance=2e-6):
    np.testing.assert_allclose(values(gated), reference, rtol=0, atol=tolerance)


def weighted_sum(weights, outputs):
    return ops.sum(weights * outputs)


def trained_gradient(layer, x, weight):
    """The gradient of `sum(share ∘ outputs)` by name, read from one step of plain descent."""
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(1.0), weighted_sum, run_eagerly=True)
    before = weights_of(layer)
    model.train_on_batch(x, weight)
    return {name: before[name] - after for name, after in weights_of(layer).items()}


def test_gradient_of_every_weight_equals_finite_differences(row, x, rng):
    layer = row.build(rng, return_sequences=True)
    weights = weights_of(layer)
    weight = rng.normal(size=(BATCH, TIME, layer.cell.output_size)).astype(np.float32)
    expected = reference.gradient(
        lambda w: np.sum(weight * row.oracle(x, w)[0]), reference.exact(weights), list(weights)
    )
    for name, actual in trained_gradient(layer, x, weight).items():
        assert np.abs(expected[name]).max() > 1e-3, name
        np.testing.assert_allclose(actual, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def arguments(layer_class):
    named = set(inspect.signature(layer_class.__init__).parameters)
    return (named | OF_EVERY_LAYER) - {"self", "units", "kwargs"}


def test_every_argument_is_known_to_these_tests(layer_class):
    assert arguments(layer_class) <= set(OFF_DEFAULT)


def off_default(layer_class):
    return layer_class(UNITS, **{name: OFF_DEFAULT[name] for name in arguments(layer_class)})


def test_config_forgets_nothing(layer_class):
    config = off_default(layer_class).get_config()
    default = {"activity_regularizer": None, **layer_class(5).get_config()}
    assert arguments(layer_class) <= set(config)
    assert [k for k in config if config[k] == default[k]] == []
    assert layer_class.from_config(config).get_config() == config


def test_arguments_can_be_read_from_the_layer(layer_class):
    layer = off_default(layer_class)
    for name in arguments(layer_class) - {"dtype"}:
        owner = layer.cell if name in layer.cell_options else layer
        assert getattr(layer, name) is getattr(owner, name)
    assert (layer.units, layer.dropout, layer.seed) == (UNITS, 0.25, 7)


def test_file_brings_back_layer_and_weights(row, x, rng, tmp_path):
    layer = row.build(rng, return_sequences=True)
    model = keras.Sequential([keras.Input((None, FEATURES)), layer])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.layers[0]) is row.layer
    assert again.layers[0].get_config() == layer.get_config()
    np.testing.assert_array_equal(values(again(x)), values(model(x)))


def test_file_brings_back_every_option(layer_class, rng, tmp_path):
    inputs_ = keras.Input(batch_shape=(BATCH, TIME, FEATURES))
    layer = off_default(layer_class)
    model = keras.Model(inputs_, layer(inputs_))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").layers[1]
    assert again.get_config() == layer.get_config()
    for name, weight in weights_of(layer).items():
        np.testing.assert_array_equal(weights_of(again)[name], weight)


def test_cell_comes_back_from_its_config(row):
    options = {"recurrent_dropout": 0.25} if row.recurrent else {}
    cell = row.cell(dropout=0.5, seed=3, **options)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cell))
    assert type(again) is type(cell)
    assert again.get_config() == cell.get_config()


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 5e-3), ("mixed_bfloat16", 5e-2)]
)
def test_mixed_precision_computes_low_and_keeps_float32_weights(row, x, rng, policy, tolerance):
    layer = row.build(rng, dtype=policy, return_sequences=True, return_state=True)
    outputs, states = row.oracle(x, weights_of(layer))
    actual = layer(x)
    assert {w.dtype for w in layer.cell.trainable_weights} == {"float32"}
    for gated, exact in zip(actual, (outputs, *states), strict=True):
        assert keras.backend.standardize_dtype(gated.dtype) == layer.compute_dtype
        close(ops.cast(gated, "float32"), exact, tolerance * max(1.0, np.abs(exact).max()))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="Keras multiplies float64 in float32 on JAX and PyTorch",
)
def test_float64_equals_the_float64_oracle(row, x, rng):
    layer = row.build(rng, dtype="float64", return_sequences=True)
    outputs, _ = row.oracle(x, weights_of(layer))
    close(layer(x.astype(np.float64)), outputs, 1e-13)


def check_refuses(row, option, value):
    with pytest.raises(TypeError, match=f"`{option}`.*no recurrent kernel"):
        row.build(**{option: value})


@pytest.mark.parametrize("kind", ["dropout", "recurrent_dropout"])
def test_dropout_acts_in_training_alone_and_follows_its_seed(row, rng, kind):
    x = inputs(rng)
    if kind == "recurrent_dropout" and not row.recurrent:
        check_refuses(row, kind, 0.5)
        return
    layer = row.build(rng, **{kind: 0.5}, seed=1)
    same_seed = row.build(**{kind: 0.5}, seed=1)
    same_seed.set_weights(layer.get_weights())
    outputs, _ = row.oracle(x, weights_of(layer))
    close(layer(x), outputs[:, -1])
    close(layer(x, training=False), outputs[:, -1])
    first, *others = (values(layer(x, training=True)) for _ in range(4))
    assert max(np.abs(first - output).max() for output in others) > 1e-3, "one mask for all calls"
    same_seed(x), same_seed(x, training=False)  # draw as often as the layer did
    np.testing.assert_array_equal(values(same_seed(x, training=True)), first)


def masks(width):
    """Every pattern that dropout of one half may draw, (2^width, width)."""
    return np.array(np.meshgrid(*[[0.0, 2.0]] * width)).reshape(width, -1).T


def test_dropout_holds_one_mask_over_time(row, rng):
    layer = row.build(rng, dropout=0.5, seed=2, return_sequences=True)
    x = inputs(rng)
    for frames, actual in zip(x, values(layer(x, training=True)), strict=True):
        candidates = frames * masks(FEATURES)[:, None, :]
        outputs, _ = row.oracle(candidates, weights_of(layer))
        assert np.abs(outputs - actual).max(axis=(1, 2)).min() <= 2e-6


def test_recurrent_dropout_holds_one_mask_over_time(row, rng):
    if not row.recurrent:
        check_refuses(row, "recurrent_dropout", 0.5)
        return
    layer = row.build(rng, recurrent_dropout=0.5, seed=2, return_sequences=True)
    x = inputs(rng)
    keep = masks(layer.cell.output_size)
    for frames, actual in zip(x, values(layer(x, training=True)), strict=True):
        candidates = np.repeat(frames[None], len(keep), axis=0)
        outputs, _ = row.oracle(candidates, weights_of(layer), recurrent_mask=keep)
        assert np.abs(outputs - actual).max(axis=(1, 2)).min() <= 2e-6


def test_penalties_are_the_regularizers_of_the_weights(row, x, rng):
    factors = {"kernel": 0.1, "recurrent": 0.01, "bias": 0.001}
    if not row.recurrent:
        check_refuses(row, "recurrent_regularizer", "l2")
        del factors["recurrent"]
    penalties = {f"{k}_regularizer": keras.regularizers.L1(v) for k, v in factors.items()}
    layer = row.build(rng, **penalties, activity_regularizer=keras.regularizers.L1(2.0))
    output = values(layer(x))
    weights = weights_of(layer)
    penalized = {"kernel": "kernel", "projection_kernel": "kernel"}
    penalized |= {"recurrent_kernel": "recurrent", "bias": "bias"}
    expected = sum(
        factors[penalized[n]] * np.abs(w).sum() for n, w in weights.items() if n in penalized
    )
    expected += 2.0 * np.abs(output).sum() / BATCH  # Keras divides an activity's penalty by B
    close(sum(layer.losses), expected, 1e-4)


def test_constraints_hold_after_training(row, x, rng):
    names = ["kernel_constraint", "bias_constraint"]
    names += ["recurrent_constraint"] if row.recurrent else []
    layer = row.build(rng, **dict.fromkeys(names, "non_neg"), return_sequences=True)
    weight = rng.normal(size=(BATCH, TIME, layer.cell.output_size)).astype(np.float32)
    trained_gradient(layer, x, weight)
    weights = weights_of(layer)
    for name in ("kernel", "recurrent_kernel", "projection_kernel", "bias"):
        assert name not in weights or weights[name].min() == 0.0


def test_initial_weights_are_the_initializers(row):
    weights = weights_of(row.build(bias_initializer=keras.initializers.Constant(0.5)))
    options = {"use_bias": True, "unit_forget_bias": issubclass(row.layer, LSTMS), **row.options}
    width = weights["kernel"].shape[-1]
    assert ("bias" in weights) == options["use_bias"]
    if options["use_bias"]:
        forget = 0 if options.get("coupled_gates") else UNITS
        bias = np.full(weights["bias"].shape, 0.5)
        if options["unit_forget_bias"]:
            bias[forget : forget + UNITS] = 1.0
        np.testing.assert_array_equal(weights["bias"], bias)
    if row.recurrent:
        rows = weights["recurrent_kernel"]
        np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-5)
    assert np.abs(weights["kernel"]).max() <= np.sqrt(6.0 / (FEATURES + width))
    np.testing.assert_array_equal(weights.get("peephole_kernel", 0.0), 0.0)
    np.testing.assert_array_equal(weights.get("layer_norm_gain", 1.0), 1.0)


def test_frozen_layer_trains_nothing(row):
    layer = row.build(trainable=False)
    assert layer.trainable_weights == []
    layer.trainable = True
    assert len(layer.trainable_weights) == len(weights_of(layer))
