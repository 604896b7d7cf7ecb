"""PyTorch's state dicts to our layers and back, against PyTorch itself."""

import keras
import numpy as np
import pytest
from registry import ROWS, inputs, values, weights_of

import kgated
from kgated.interop import from_torch, to_torch

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

# PyTorch's own remark about its own kernels.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

F, U = 3, 4
MODULES = [
    (kind, {"num_layers": layers, "bidirectional": both, **more})
    for kind, more in [("LSTM", {}), ("LSTM", {"proj_size": 2}), ("GRU", {})]
    for layers, both in [(1, False), (2, True), (3, False)]
]
MODULES += [("LSTM", {"bias": False}), ("GRU", {"bias": False, "bidirectional": True})]


def module(kind, options, seed=0):
    torch.manual_seed(seed)
    actual = getattr(torch.nn, kind)(F, U, batch_first=True, **options)
    with torch.no_grad():
        for parameter in actual.parameters():
            parameter.mul_(2.0)
    return actual


def run(actual, x):
    with torch.no_grad():
        return actual(torch.from_numpy(x))[0].numpy()


def chain(layers, x):
    for layer in layers:
        x = layer(x)
    return values(x)


def loaded(actual, arrays):
    """The module with our arrays; PyTorch itself refuses a missing, unknown or misshapen one."""
    actual.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    return actual


def label(case):
    return str(case)


@pytest.mark.parametrize(("kind", "options"), MODULES, ids=label)
def test_our_layers_compute_what_the_module_computes(kind, options, rng):
    actual = module(kind, options)
    x = inputs(rng, time=6)
    layers = from_torch(actual.state_dict())
    assert len(layers) == options.get("num_layers", 1)
    assert np.abs(chain(layers, x) - run(actual, x)).max() < 1e-6
    assert np.abs(chain(layers, x) - run(module(kind, options, seed=1), x)).max() > 1e-2


@pytest.mark.parametrize(("kind", "options"), MODULES, ids=label)
def test_round_trips_through_numpy_keep_the_bits(kind, options, rng):
    first = from_torch({k: v.numpy() for k, v in module(kind, options).state_dict().items()})
    arrays = to_torch(first)
    again = from_torch(arrays)
    for a, b in zip(first, again, strict=True):
        assert [type(v) for v in (a, b)] == [type(a)] * 2
        for item, returned in zip(a.get_weights(), b.get_weights(), strict=True):
            np.testing.assert_array_equal(item, returned)
    fresh = loaded(module(kind, options, seed=1), arrays)
    x = inputs(rng, time=6)
    assert np.abs(run(fresh, x) - chain(first, x)).max() < 1e-6


def test_the_tensors_of_a_gru_return_untouched():
    reference = module("GRU", {"num_layers": 2, "bidirectional": True}).state_dict()
    back = to_torch(from_torch(reference, update_gate="candidate"))
    assert list(back) == list(reference)
    for name, value in reference.items():
        np.testing.assert_array_equal(back[name], value.numpy())


def test_the_two_biases_of_an_lstm_become_their_sum():
    reference = module("LSTM", {}).state_dict()
    back = to_torch(from_torch(reference))
    np.testing.assert_array_equal(
        back["bias_ih_l0"], (reference["bias_ih_l0"] + reference["bias_hh_l0"]).numpy()
    )
    assert not back["bias_hh_l0"].any()
    np.testing.assert_array_equal(back["weight_hh_l0"], reference["weight_hh_l0"].numpy())


def refusal(row):
    """The word that the error must hold, or None where the row has an exact twin in PyTorch."""
    for option in ("activation", "layer_norm"):
        if row.options.get(option):
            return option
    if row.layer is kgated.GRU:
        return None if row.options.get("reset_after") else "reset_after"
    return "peephole_kernel" if row.layer is kgated.PeepholeLSTM else None


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_row_becomes_a_module_or_is_refused_by_name(row, rng):
    layer = row.build(rng, return_sequences=True)
    if not row.recurrent:
        with pytest.raises(TypeError, match=f"Received: <{row.layer.__name__}"):
            to_torch(layer)
        return
    if word := refusal(row):
        with pytest.raises(ValueError, match=word):
            to_torch(layer)
        return
    kind = "GRU" if row.layer is kgated.GRU else "LSTM"
    options = {"bias": row.options.get("use_bias", True)}
    if kind == "LSTM":
        options["proj_size"] = row.options.get("projection_units", 0)
    loaded_module = loaded(module(kind, options), to_torch(layer))
    x = inputs(rng)
    expected, _ = row.oracle(x, weights_of(layer))
    assert np.abs(run(loaded_module, x) - expected).max() < 1e-6


def test_layers_of_keras_are_taken_too(rng):
    stock = keras.layers.Bidirectional(keras.layers.GRU(U, return_sequences=True))
    x = inputs(rng)
    expected = values(stock(x))
    loaded_module = loaded(module("GRU", {"bidirectional": True}), to_torch(stock))
    assert np.abs(run(loaded_module, x) - expected).max() < 1e-6


def test_a_prefix_picks_one_module_of_a_model(rng):
    model = torch.nn.ModuleDict({"rnn": module("LSTM", {}), "head": torch.nn.Linear(U, 2)})
    with pytest.raises(ValueError, match=r"give `prefix`, one of \['rnn\.', 'head\.'\]"):
        from_torch(model.state_dict())
    (layer,) = from_torch(model.state_dict(), prefix="rnn.", return_sequences=False)
    x = inputs(rng)
    assert np.abs(values(layer(x)) - run(model["rnn"], x)[:, -1]).max() < 1e-6


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_the_dtype_stays(dtype):
    reference = module("GRU", {}).to(getattr(torch, dtype)).state_dict()
    (layer,) = from_torch(reference)
    assert layer.cell.kernel.dtype == dtype
    np.testing.assert_array_equal(
        to_torch(layer)["weight_ih_l0"], reference["weight_ih_l0"].numpy()
    )


def test_bfloat16_weights_become_float32():
    reference = module("GRU", {}).to(torch.bfloat16).state_dict()
    (layer,) = from_torch(reference)
    back = to_torch(layer)["weight_ih_l0"]
    np.testing.assert_array_equal(back, reference["weight_ih_l0"].float().numpy())


BAD = [
    ("weight_hh_l0", (17, 4), r"`weight_hh_l0` must have shape \(16, 4\).*\(17, 4\)"),
    ("weight_ih_l1", (16, 5), r"`weight_ih_l1` must have shape \(16, 4\).*\(16, 5\)"),
    ("bias_hh_l1", (12,), r"`bias_hh_l1` must have shape \(16,\).*\(12,\)"),
    ("weight_ih_l0", (16,), r"`weight_ih_l0`.*axes.*\(16,\)"),
    ("weight_hr_l0", (2, 4), r"`weight_hh_l0` must have shape \(16, 2\).*\(16, 4\)"),
    ("fc.weight", (2, 2), r"no LSTM or GRU layer: \['fc.weight'\]"),
    ("bias_ih_l1", None, "no `bias_ih_l1`"),
    ("weight_hh_l1", None, "no `weight_hh_l1`"),
]


@pytest.mark.parametrize(("name", "shape", "message"), BAD, ids=label)
def test_a_wrong_tensor_is_named_with_both_shapes(name, shape, message):
    reference = {k: v.numpy() for k, v in module("LSTM", {"num_layers": 2}).state_dict().items()}
    reference.pop(name, None)
    if shape is not None:
        reference[name] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=message):
        from_torch(reference)


def test_layers_that_no_module_can_hold_are_refused(rng):
    def built(layer, features=F):
        layer.build((None, None, features))
        return layer

    with pytest.raises(ValueError, match=r"`units`.*\[4, 5\]"):
        to_torch([built(kgated.LSTM(4)), built(kgated.LSTM(5), 4)])
    with pytest.raises(ValueError, match="kind"):
        to_torch([built(kgated.LSTM(4)), built(kgated.GRU(4), 4)])
    with pytest.raises(ValueError, match="go_backwards"):
        to_torch(built(kgated.LSTM(4, go_backwards=True)))
    with pytest.raises(ValueError, match="merge_mode"):
        to_torch(built(keras.layers.Bidirectional(kgated.LSTM(4), merge_mode="sum")))
    with pytest.raises(TypeError, match="Dense"):
        to_torch([keras.layers.Dense(4)])
