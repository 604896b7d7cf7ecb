"""Layers that cannot stream are refused with their name, the reason and a remedy."""

import functools

import keras
import model_builders
import pytest

import kgated
from kgated.deploy.recipe import Recipe
from kgated.deploy.streaming import step_model
from kgated.errors import ConversionError
from kgated.keras_internals.graph import any_length

layers = keras.layers
FEATURES, WHOLE = 5, 'convert with `mode="sequence"`'
sequential = functools.partial(model_builders.sequential, shape=(8, FEATURES))


def functional(build, *shapes):
    inputs = [keras.Input(shape) for shape in shapes or [(8, FEATURES)]]
    return keras.Model(inputs, build(*inputs))


class Scaled(layers.RNN):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        return super().call(2.0 * sequences, initial_state, mask, training)


class Reversed(layers.Layer):
    def call(self, x):
        return keras.ops.flip(x, axis=1)


class Fails(layers.Layer):
    def call(self, x):
        if x.shape[0] is not None:
            raise KeyError("a fixed batch")
        return x


def attention(x):
    return layers.MultiHeadAttention(1, 2, name="guilty")(x, x)


def with_initial_state(x):
    start = layers.Dense(4)(kgated.GRU(4, return_sequences=False)(x))
    return kgated.GRU(4, name="guilty")(x, initial_state=[start])


def two_rates(x):
    slow = layers.Conv1D(3, 2, strides=2, padding="causal")(x)
    return [layers.Dense(2)(x), slow]


def padding_read_twice(x):
    padded = layers.ZeroPadding1D((2, 0), name="guilty")(x)
    return layers.Dense(2)(padded)


def merged_ranks(x):
    return layers.Add(name="guilty")([x, kgated.LSTM(FEATURES)(x)])


CAUSAL = r'`padding="causal"`'
REFUSED = {
    "bidirectional": (
        lambda: sequential(layers.Bidirectional(kgated.LSTM(3), name="guilty")),
        f"Bidirectional.*{WHOLE}",
    ),
    "go_backwards": (
        lambda: sequential(kgated.LSTM(3, go_backwards=True, name="guilty")),
        f"go_backwards.*{WHOLE}",
    ),
    "attention": (lambda: functional(attention), f"MultiHeadAttention.*{WHOLE}"),
    "dot attention": (
        lambda: functional(lambda x: layers.Attention(name="guilty")([x, x])),
        f"Attention.*{WHOLE}",
    ),
    "group normalization": (
        lambda: sequential(layers.GroupNormalization(1, name="guilty")),
        "averages over time.*LayerNormalization",
    ),
    "normalization over time": (
        lambda: sequential(layers.LayerNormalization(axis=1, name="guilty")),
        r"`axis=\[1\]` may reach over time.*`axis=-1`",
    ),
    "same padding": (
        lambda: sequential(layers.Conv1D(3, 3, padding="same", name="guilty")),
        f'`padding="same"` looks ahead.*{CAUSAL}',
    ),
    "valid padding": (
        lambda: sequential(layers.Conv1D(3, 3, dilation_rate=2, name="guilty")),
        r"`padding=\"valid\"`.*ZeroPadding1D\(\(4, 0\)\)",
    ),
    "too little padding": (
        lambda: sequential(layers.ZeroPadding1D((1, 0)), layers.DepthwiseConv1D(3, name="guilty")),
        r"right after `ZeroPadding1D\(\(2, 0\)\)`",
    ),
    "padding twice": (
        lambda: sequential(
            layers.ZeroPadding1D((2, 0)), layers.Conv1D(3, 3, padding="causal", name="guilty")
        ),
        "pads by itself: remove the ZeroPadding1D",
    ),
    "padding at the end": (
        lambda: sequential(layers.ZeroPadding1D(2, name="guilty"), layers.Conv1D(3, 3)),
        r"`padding=\(n, 0\)`",
    ),
    "padding for another": (lambda: functional(padding_read_twice), "a convolution alone"),
    "padding as the output": (
        lambda: sequential(layers.ZeroPadding1D((2, 0), name="guilty")),
        "a convolution alone",
    ),
    "channels first": (
        lambda: sequential(layers.MaxPooling1D(2, data_format="channels_first", name="guilty")),
        '"channels_last"',
    ),
    "overlapping pools": (
        lambda: sequential(layers.MaxPooling1D(3, strides=1, name="guilty")),
        "`pool_size=3`, `strides=1`.*equal `pool_size` and `strides`",
    ),
    "padded pools": (
        lambda: sequential(layers.AveragePooling1D(2, padding="same", name="guilty")),
        'and `padding="valid"`',
    ),
    "upsampling": (lambda: sequential(layers.UpSampling1D(2, name="guilty")), "more frames than"),
    "cropping": (lambda: sequential(layers.Cropping1D(1, name="guilty")), "at the ends"),
    "flatten": (
        lambda: sequential(layers.Flatten(name="guilty")),
        r"`TimeDistributed\(Flatten\(\)\)`",
    ),
    "reshape": (
        lambda: sequential(layers.Reshape((4, 10), name="guilty")),
        r"`TimeDistributed\(Reshape\(\.\.\.\)\)`",
    ),
    "permute": (lambda: sequential(layers.Permute((2, 1), name="guilty")), WHOLE),
    "lambda": (
        lambda: sequential(layers.Lambda(lambda x: x[:, ::-1], name="guilty")),
        "over time is unknown",
    ),
    "a product over frames": (
        lambda: sequential(layers.EinsumDense("btf,tg->bgf", (3, FEATURES), name="guilty")),
        'its `equation="btf,tg->bgf"` may combine frames',
    ),
    "a layer of an unknown class": (
        lambda: sequential(layers.Resizing(2, 2, name="guilty"), shape=(6, 4, 1)),
        "streaming takes recurrent layers, causal convolution",
    ),
    "weights per frame": (
        lambda: sequential(layers.PReLU(name="guilty")),
        r"`shared_axes=\[1\]`",
    ),
    "merging time and no time": (lambda: functional(merged_ranks), "as many frames each"),
    "merging over time": (
        lambda: functional(lambda x: layers.Concatenate(axis=1, name="guilty")([x, x])),
        r"`axis=\[1\]`",
    ),
    "state in the graph": (
        lambda: functional(with_initial_state),
        f"`initial_state` is computed.*`get_initial_state`.*{WHOLE}",
    ),
    "a recurrent layer with a call of its own": (
        lambda: sequential(Scaled(layers.GRUCell(3), name="guilty")),
        f"a `call` of its own.*{WHOLE}",
    ),
    "a layer that mixes frames by itself": (
        lambda: sequential(Reversed(name="guilty")),
        rf"\(Reversed\): layer `flip\w*` .*{WHOLE}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unsupported_layers_are_refused_by_name(case):
    build, message = REFUSED[case]
    with pytest.raises(ConversionError, match=f"`guilty`.*{message}") as caught:
        step_model(build())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: x[:, 0], r"GetItem.*`return_sequences=False`"),
        (lambda x: x[:, :100], r"GetItem.*`return_sequences=False`"),
        (lambda x: keras.ops.mean(x, axis=(1, 2)), "Mean.*can't stream"),
        (lambda x: keras.ops.flip(x, axis=1), r"Flip.*can't stream: its `axis=\[1\]`"),
        (lambda x: keras.ops.roll(x, 1, axis=1), "Roll.*can't stream"),
        (lambda x: keras.ops.tril(x), "Tril.*can't stream"),
        (lambda x: x + keras.ops.ones((8, 1)), "Add.*numbers and with like sequences"),
        (lambda x: x * kgated.LSTM(FEATURES)(x)[:, None], "Multiply.*like sequences"),
        (lambda x: keras.ops.where(x > 0, x, x[:, :1]), "GetItem.*can't stream"),
    ],
)
def test_operations_over_time_are_refused(build, message):
    with pytest.raises(ConversionError, match=message):
        step_model(functional(build))


def test_outputs_of_two_rates_are_refused():
    with pytest.raises(ConversionError, match=r"gives 2 results of one output.*two models"):
        step_model(functional(two_rates))


def test_a_refusal_names_sequence_mode_only_where_it_takes_the_model():
    with pytest.raises(ConversionError) as taken:
        step_model(functional(lambda x: layers.Lambda(lambda x: x[:, ::-1])(x)))
    assert str(taken.value).endswith('convert with `mode="sequence"`, which takes the model')
    refused = functional(lambda x: layers.Bidirectional(kgated.LSTM(3))(Fails(name="fails")(x)))
    with pytest.raises(ConversionError, match=r"`fails`.*does not take the model") as neither:
        step_model(refused)
    assert WHOLE not in str(neither.value)


def test_an_exception_of_a_layer_names_the_layer(tmp_path):
    model = functional(Fails(name="fails"))
    with pytest.raises(ConversionError, match=r"`fails` \(Fails\) fails on.*a fixed batch"):
        kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence")


@pytest.mark.parametrize("shapes", [[(8, 3), (3,)], [(8, 3), (8,)], [(None, None)]])
def test_inputs_that_are_no_frames_are_refused(shapes):
    def build(*inputs):
        dense = [layers.Activation("relu")(x) for x in inputs]
        return [layers.Identity()(x) for x in dense]

    with pytest.raises(ConversionError, match=r"\(batch, time, features\) with a fixed number"):
        step_model(functional(build, *shapes))


def test_a_refused_model_still_runs_over_any_length():
    """The reference for the comparison needs no step."""
    model = sequential(layers.Conv1D(3, 3, padding="same"), kgated.LSTM(2))
    assert any_length(model)(keras.ops.ones((1, 5, FEATURES))).shape == (1, 2)


def test_an_unknown_state_is_refused():
    with pytest.raises(ValueError, match=r"`state` must be one of \['external', 'internal'\]"):
        Recipe(state="inside")
