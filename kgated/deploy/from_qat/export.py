"""A quantization-aware model as layers to convert, with marks at the points that it trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import ops

from kgated.deploy.from_qat.markers import Mark, Marks, unmarked
from kgated.deploy.from_qat.ranges import learned_ranges, rounded_before_joints
from kgated.deploy.quantization.calibration import Ranges
from kgated.deploy.quantization.shared_scales import Ties
from kgated.deploy.recipe import Recipe
from kgated.deploy.verification.targets import Stream, Subject, Whole
from kgated.keras_graph import run_on
from kgated.optimize import QuantizeAware
from kgated.optimize.qat.layers import standardization
from kgated.optimize.qat.linear import folded, weights
from kgated.optimize.qat.prepare import copy_layer, is_normalized
from kgated.optimize.qat.quantizer import INPUT, SUM


@dataclass(frozen=True)
class Learned:
    """A quantization-aware model on its way into a file.

    Attributes:
        qat: the model.
        layers: what is converted in its place, marked.
    """

    qat: QuantizeAware
    layers: keras.Model

    @classmethod
    def of(cls, qat: QuantizeAware, recipe: Recipe) -> "Learned":
        """The model, once it is seen that the recipe is the one that it was trained for."""
        _check(qat, recipe)
        return cls(qat, plain(qat))

    def subject(self, subject: Subject) -> Subject:
        """What the file is checked against: the very numbers of the training."""
        if isinstance(subject, Stream):
            reference = replace(subject.reference, model=_Inference(self.qat))
            return replace(subject, reference=reference)
        assert isinstance(subject, Whole), "a file streams, or takes a whole sequence"
        return replace(subject, model=_Inference(self.qat))

    def ranges(self, tflite: bytes, ties: Ties) -> tuple[bytes, Ranges]:
        """The file without marks, and the range of each of its tensors."""
        tflite, points = unmarked(tflite)
        limits = self.qat.limits()
        tflite = rounded_before_joints(tflite, points, limits)
        return tflite, learned_ranges(tflite, points, limits, ties)


class _Inference:
    """The model's call as one TensorFlow function for sequences of every length."""

    def __init__(self, qat: QuantizeAware) -> None:
        import tensorflow as tf

        specs = [tf.TensorSpec((None, None, *x.shape[2:]), x.dtype) for x in qat.inner.inputs]
        self._call = tf.function(lambda *x: qat(list(x), training=False), input_signature=specs)

    def __call__(self, inputs: Any, training: bool) -> Any:
        return self._call(*keras.tree.flatten(inputs))


def _check(qat: QuantizeAware, recipe: Recipe) -> None:
    if recipe.quantize != qat.scheme:
        raise ValueError(
            f"`quantize` must be {qat.scheme!r}, what `model` was trained for. Received: "
            f"{recipe.quantize!r}; its layers in float are `model.inner`, for other recipes"
        )
    if recipe.skip or recipe.lowering in ("fused", "while"):
        raise ValueError(
            "`skip` and `lowering='fused'` would compute otherwise than `model` was trained, and "
            "`lowering='while'` has no learned ranges inside its loop: leave them out, or convert "
            "its layers in float, `model.inner`"
        )
    if not qat.has_learned:
        raise ValueError("`model` has learned no ranges yet: compile it, and `fit` it on real data")


def plain(qat: QuantizeAware) -> keras.Model:
    """The layers of a quantization-aware model in float, normalization folded, points marked."""
    inner = qat.inner
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in inner.inputs]
    places = [
        x if "int" in x.dtype else Mark(f"{INPUT}/{x.name}", f"{x.name}_mark")(x) for x in inputs
    ]
    builder = _Builder(qat)
    outputs = run_on(inner, places, builder)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=inner.name)


@dataclass(frozen=True)
class _Pending:
    """A layer of products that waits for the normalization after it."""

    layer: keras.Layer
    x: Any


class _Builder:
    """Calls for each layer the one that is converted in its place."""

    def __init__(self, qat: QuantizeAware) -> None:
        self._points = {*qat.points, *qat.fixed}
        self._fused = qat.fused

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        kind = next((BUILD[k] for k in type(layer).__mro__ if k in BUILD), None)
        y = kind(self, layer, *args, **kwargs) if kind else layer(*args, **kwargs)
        return self.marked(layer.name, y) if layer.name in self._points else y

    def marked(self, point: str, y: Any) -> Any:
        return Mark(point, f"{point.replace('/', '_')}_mark")(y)

    def product(self, layer: keras.Layer, x: Any, **_: Any) -> Any:
        if layer.name in self._fused and is_normalized(layer):
            return _Pending(layer, x)
        return self._with_weights(layer, x, *weights(layer))

    def normalization(self, layer: keras.Layer, pending: _Pending, **_: Any) -> Any:
        before = pending.layer
        return self._with_weights(before, pending.x, *folded(before, layer))

    def _with_weights(self, layer: keras.Layer, x: Any, W: Any, b: Any) -> Any:
        """The layer on other weights; an activation that is an operator of its own comes apart."""
        sum_point = f"{layer.name}/{SUM}"
        apart = sum_point in self._points
        options = {"use_bias": b is not None, **({"activation": "linear"} if apart else {})}
        copy = type(layer).from_config({**layer.get_config(), **options})
        copy.build_from_config(layer.get_build_config())
        copy.kernel.assign(W)
        if b is not None:
            copy.bias.assign(b)
        if not apart:
            return copy(x)
        activation = keras.layers.Activation(layer.activation, name=f"{layer.name}_activation")
        return activation(self.marked(sum_point, copy(x)))

    def recurrent(self, layer: keras.layers.RNN, *args: Any, **kwargs: Any) -> Any:
        copy = copy_layer(layer)
        copy.cell.hook = Marks(f"{layer.name}/")
        return copy(*args, **kwargs)

    def both_ways(self, layer: keras.layers.Bidirectional, *args: Any, **kwargs: Any) -> Any:
        copy = copy_layer(layer)
        for way in (copy.forward_layer, copy.backward_layer):
            way.cell.hook = Marks(f"{layer.name}/{way.name}/")
        return copy(*args, **kwargs)

    def standardized(self, layer: keras.layers.Normalization, x: Any, **_: Any) -> Any:
        return Standardized(layer)(x)

    def repeated(self, layer: keras.layers.RepeatVector, x: Any, **_: Any) -> Any:
        return Repeated(layer)(x)


class Repeated(keras.Layer):
    """What a RepeatVector computes, by a CONCATENATION: no integer kernel takes TILE."""

    def __init__(self, layer: keras.layers.RepeatVector) -> None:
        super().__init__(name=layer.name)
        self._n = layer.n

    def compute_output_shape(self, shape: Any) -> Any:
        """(B, F) to (B, n, F)."""
        return shape[0], self._n, shape[1]

    def call(self, x: Any) -> Any:
        """The rows, n times each."""
        return ops.concatenate([ops.expand_dims(x, axis=1)] * self._n, axis=1)


class Standardized(keras.layers.Identity):
    """What a Normalization computes of each frame, in the operators that its points are at."""

    def __init__(self, layer: keras.layers.Normalization) -> None:
        super().__init__(name=layer.name)
        self._mean, self._factor = (ops.convert_to_numpy(w) for w in standardization(layer))
        self._centred = Marks(f"{layer.name}/")

    def call(self, x: Any) -> Any:
        """`(x - mean) · factor`."""
        return self._centred(SUM, x - self._mean) * self._factor


BUILD: Mapping[type, Callable[..., Any]] = {
    keras.layers.Dense: _Builder.product,
    keras.layers.Conv1D: _Builder.product,
    keras.layers.DepthwiseConv1D: _Builder.product,
    keras.layers.BatchNormalization: _Builder.normalization,
    keras.layers.RNN: _Builder.recurrent,
    keras.layers.Bidirectional: _Builder.both_ways,
    keras.layers.Normalization: _Builder.standardized,
    keras.layers.RepeatVector: _Builder.repeated,
}
