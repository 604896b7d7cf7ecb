"""The lists of CONTRIBUTING.md: paths exist, and toy examples follow two of the lists."""

import re

import keras
import numpy as np
import pytest
import warm_processes
from documents import ROOT, page
from keras import ops
from kgated_edge import open_model

import kgated
from kgated import steps
from kgated.cells import register
from kgated.cells.base import GatedCell, tensor
from kgated.layers import GatedRNN

LISTS = (
    "Add a cell",
    "Add a quantization",
    "Add a per-frame layer",
    "Add a manifest field",
    "Add a metric of `check`",
    "Add a lowering",
)


def items(heading):
    """The numbered items under a heading, without their numbers."""
    _, _, text = page("CONTRIBUTING.md").partition(f"\n## {heading}\n")
    text = text.partition("\n## ")[0]
    assert text, heading
    actual = re.findall(r"^(\d+)\. (.*(?:\n +.*)*)", text, re.MULTILINE)
    assert [int(number) for number, _ in actual] == list(range(1, len(actual) + 1))
    return [item for _, item in actual]


def paths(heading):
    return [re.match(r"`([^`]+)`", item).group(1) for item in items(heading)]


@pytest.mark.parametrize("heading", LISTS)
def test_every_item_begins_with_a_path_that_exists(heading):
    assert len(items(heading)) >= 5
    assert [path for path in paths(heading) if not (ROOT / path).is_file()] == []


def test_every_path_of_the_page_exists():
    mentioned = re.findall(
        r"`((?:kgated|edge|tests|scripts|docs)[\w/]*/[\w/.]+)`", page("CONTRIBUTING.md")
    )
    assert len(mentioned) > 40
    assert [path for path in mentioned if not (ROOT / path).exists()] == []


# The toy cell: a minimal gated unit (Zhou et al. 2016), a GRU whose one gate f resets and mixes.
# Each part below is what the item of the list with that path asks for.

CELL_PARTS = {
    "kgated/steps.py": "minimal_gated_step",
    "kgated/cells/base.py": "MinimalGatedCell",
    "kgated/layers/recurrent.py": "MinimalGatedUnit",
    "tests/reference.py": "minimal_gated_reference",
}


def minimal_gated_step(x, h, gate, candidate, hook):
    """f = σ(x·Wf + h·Rf + bf), g = tanh(x·Wg + (f∘h)·Rg + bg), h' = (1-f)∘h + f∘g."""
    f = hook.function("f", ops.sigmoid, gate(x, h), of="gate/a")
    g = hook.function("g", ops.tanh, candidate(x, f * h), of="candidate/a")
    return steps.toward_candidate(f, h, g, hook, "f")


@register
class MinimalGatedCell(GatedCell):
    dropout = recurrent_dropout = 0.0

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units

    def build(self, input_shape):
        shapes = {"kernel": input_shape[-1], "recurrent_kernel": self.units}
        for name, rows in shapes.items():
            setattr(self, name, self.add_weight(shape=(rows, 2 * self.units), name=name))
        self.bias = self.add_weight(shape=(2 * self.units,), name="bias", initializer="zeros")

    def prepare(self, affine=steps.affine, batch=None, hook=None):
        hook, n = hook or self.hook, self.units
        W, R, b = tensor(self.kernel), tensor(self.recurrent_kernel), tensor(self.bias)
        gate = affine(W[:, :n], R[:, :n], b[:n], hook.nested("gate", state="h"))
        candidate = affine(W[:, n:], R[:, n:], b[n:], hook.nested("candidate", state="f*h"))

        def step(x, observed, states):
            h = minimal_gated_step(x, states[0], gate, candidate, hook)
            return h, [h]

        return step

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class MinimalGatedUnit(GatedRNN):
    cell_class = MinimalGatedCell

    def __init__(self, units, **kwargs):
        super().__init__(units=units, **kwargs)


def minimal_gated_reference(x, weights):
    """The equations in float64 NumPy: x (T, F) to (T, U)."""
    W, R, b = (np.float64(weight) for weight in weights)
    n = R.shape[0]
    h, outputs = np.zeros(n), []
    for frame in np.float64(x):
        f = 1 / (1 + np.exp(-(frame @ W[:, :n] + h @ R[:, :n] + b[:n])))
        g = np.tanh(frame @ W[:, n:] + (f * h) @ R[:, n:] + b[n:])
        h = (1 - f) * h + f * g
        outputs.append(h)
    return np.stack(outputs)


@pytest.fixture
def x(rng):
    """(32, 8, 3) float32."""
    return rng.normal(size=(32, 8, 3)).astype(np.float32)


def toy_model(return_sequences):
    toy = MinimalGatedUnit(6, return_sequences=return_sequences, name="toy")
    return keras.Sequential([keras.Input((None, 3)), toy, keras.layers.Dense(2)])


def test_the_toy_cell_has_the_parts_that_the_list_asks_for():
    assert set(CELL_PARTS) <= set(paths("Add a cell"))
    assert set(CELL_PARTS.values()) <= set(globals())


def test_the_toy_cell_computes_its_equations(x, rng):
    layer = MinimalGatedUnit(6, return_sequences=True)
    layer.build((None, None, 3))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    expected = minimal_gated_reference(x[0], layer.get_weights())
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x[:1]))[0], expected, atol=1e-5)


def test_the_toy_cell_trains_and_is_saved(x, tmp_path):
    y = x.sum(axis=1)[:, :2]
    model = toy_model(return_sequences=False)
    model.compile(keras.optimizers.Adam(0.03), "mse")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=15, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.5 * before
    model.save(tmp_path / "toy.keras")
    loaded = keras.saving.load_model(tmp_path / "toy.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converts twice")
@pytest.mark.parametrize(
    "options", [{}, {"mode": "sequence", "length": 8}], ids=["stream", "whole"]
)
def test_the_toy_cell_converts_and_equals_keras(options, x, tmp_path):
    model = toy_model(return_sequences=True)
    kgated.to_tflite(model, tmp_path / "toy.tflite", **options)
    results = open_model(tmp_path / "toy.tflite").run(x[0])
    assert results.shape == (8, 2)
    np.testing.assert_allclose(results, model.predict(x[:1], verbose=0)[0], atol=1e-5)


# The toy layer: `kgated/framewise.py` gets one more row, in a process of its own.

TOY_LAYER = """
import pathlib, sys, types

import keras, numpy as np, tensorflow as tf

@keras.saving.register_keras_serializable("toy")
class Halve(keras.layers.Layer):
    def call(self, x):
        return 0.5 * tf.math.cumsum(x, axis=-1)  # not of keras.ops, which are tried without a row

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)

import kgated.errors
source = pathlib.Path("kgated/framewise.py").read_text()
before, table, after = source.partition("FRAMEWISE = (\\n")
assert table
framewise = types.ModuleType("kgated.framewise")
framewise.Halve = Halve
sys.modules["kgated.framewise"] = framewise
exec(before + table + sys.argv[2] + after, framewise.__dict__)

import kgated
from kgated_edge import open_model

model = keras.Sequential([keras.Input((None, 3)), Halve(), kgated.GRU(4, return_sequences=True)])
x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
expected = model.predict(x[None], verbose=0)[0]
for name, options in {"stream": {}, "sequence": {"mode": "sequence", "max_length": 9}}.items():
    path = f"{sys.argv[1]}/{name}.tflite"
    try:
        kgated.to_tflite(model, path, **options)
    except kgated.errors.ConversionError as error:
        print(name, "refused:", error)
    else:
        np.testing.assert_allclose(open_model(path).run(x), expected, atol=1e-5)
        print(name, "equals Keras")
"""


def convert_with_row(row, folder):
    run = warm_processes.run("-c", TOY_LAYER, folder, row, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converts in TensorFlow")
def test_one_row_makes_a_per_frame_layer_stream_and_take_padding(tmp_path):
    assert paths("Add a per-frame layer")[0] == "kgated/framewise.py"
    assert "`FRAMEWISE`" in items("Add a per-frame layer")[0]
    printed = convert_with_row("    Framewise(Halve),\n", tmp_path)
    assert printed.splitlines() == ["stream equals Keras", "sequence equals Keras"]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converts in TensorFlow")
def test_without_its_row_the_layer_is_refused_by_name(tmp_path):
    lines = convert_with_row("", tmp_path).splitlines()
    assert [line.split(":")[0] for line in lines] == ["stream refused", "sequence refused"]
    assert all("Halve" in line or "halve" in line for line in lines)
