"""A quantization-aware model as layers to convert, with markers at its quantization points."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
from ai_edge_litert import schema_py_generated as schema
from keras import ops

from kgated.deploy.from_qat.markers import Marker, StepMarkers, strip_markers
from kgated.deploy.from_qat.normalized import Normalized
from kgated.deploy.from_qat.ranges import qat_ranges, requantize_before_concatenation
from kgated.deploy.quantization.ranges.calibration import Ranges
from kgated.deploy.quantization.scales.shared_scales import SharedScales
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.verification.targets import Target, TargetSequence, TargetStream
from kgated.keras_internals.graph import run_on
from kgated.keras_internals.tensorflow_private import without_tracing_warning
from kgated.optimize import QuantizeAware
from kgated.optimize.qat.layers import standardization
from kgated.optimize.qat.linear import folded, weights
from kgated.optimize.qat.prepare import copy_layer, is_normalized
from kgated.optimize.qat.quantizer import INPUT, SUM


@dataclass(frozen=True)
class QatExport:
    """The conversion of a quantization-aware model.

    Attributes:
        qat: the model.
        layers: what is converted in its place, with markers.
    """

    qat: QuantizeAware
    layers: keras.Model

    @classmethod
    def of(cls, qat: QuantizeAware, recipe: Recipe) -> "QatExport":
        """The export of a model.

        Raises:
            ValueError: the recipe is not what the model was trained for.
        """
        _check(qat, recipe)
        return cls(qat, float_layers(qat))

    def target(self, target: Target) -> Target:
        """The verification target: the outputs of the trained model, quantization included."""
        assert isinstance(target, TargetStream | TargetSequence)
        reference = replace(target.reference, model=_Inference(self.qat))
        return replace(target, reference=reference)

    def float_file(self, model: schema.ModelT, shared: SharedScales) -> tuple[FloatFile, Ranges]:
        """The converted file without markers, and the range of each of its tensors."""
        points, limits = strip_markers(model), self.qat.limits()
        file = FloatFile(model, LayerTable.from_names(model))
        requantize_before_concatenation(file, points, limits)
        return file, qat_ranges(file, points, limits, shared)


class _Inference:
    """The model's call: op by op for short sequences, for others as one TensorFlow function.

    To trace the function takes as long as tens of steps op by op.
    """

    MAX_EAGER_STEPS = 16

    def __init__(self, qat: QuantizeAware) -> None:
        import tensorflow as tf

        specs = [tf.TensorSpec((None, None, *x.shape[2:]), x.dtype) for x in qat.inner.inputs]
        self._eager: Callable[..., Any] = lambda *x: qat(list(x), training=False)
        traced = tf.function(self._eager, input_signature=specs, autograph=False)
        self._call = without_tracing_warning(traced)

    def __call__(self, inputs: Any, training: bool) -> Any:
        tensors = keras.tree.flatten(inputs)
        is_short = max(x.shape[1] for x in tensors) <= self.MAX_EAGER_STEPS
        return (self._eager if is_short else self._call)(*tensors)


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


def float_layers(qat: QuantizeAware) -> keras.Model:
    """The layers of a quantization-aware model in float, normalization folded, with markers."""
    inner = qat.inner
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in inner.inputs]
    places = [
        x if "int" in x.dtype else Marker(f"{INPUT}/{x.name}", f"{x.name}_marker")(x)
        for x in inputs
    ]
    builder = _Builder(qat)
    outputs = run_on(inner, places, builder)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=inner.name)


def _mark_input(x: Any) -> Any:
    return Marker(f"{INPUT}/{x.name}", f"{x.name}_marker")(x)


@dataclass(frozen=True)
class _Pending:
    """A Dense or Conv1D before the batch normalization is folded into it."""

    layer: keras.Layer
    x: Any


class _Builder:
    """Calls, for each layer, the layer that is converted in its place."""

    def __init__(self, qat: QuantizeAware) -> None:
        self._points = {*qat.points, *qat.fixed}
        self._fused = qat.fused

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        kind = next((BUILD[k] for k in type(layer).__mro__ if k in BUILD), None)
        y = kind(self, layer, *args, **kwargs) if kind else layer(*args, **kwargs)
        return self._with_marker(layer.name, y) if layer.name in self._points else y

    def _with_marker(self, point: str, y: Any) -> Any:
        return Marker(point, f"{point.replace('/', '_')}_marker")(y)

    def dense_or_convolution(self, layer: keras.Layer, x: Any, **_: Any) -> Any:
        if layer.name in self._fused and is_normalized(layer):
            return _Pending(layer, x)
        return self._with_weights(layer, x, *weights(layer))

    def normalization(self, layer: keras.Layer, pending: _Pending, **_: Any) -> Any:
        before = pending.layer
        return self._with_weights(before, pending.x, *folded(before, layer))

    def _with_weights(self, layer: keras.Layer, x: Any, W: Any, b: Any) -> Any:
        """The layer with other weights; an activation with a point becomes a layer of its own."""
        sum_point = f"{layer.name}/{SUM}"
        is_split = sum_point in self._points
        options = {"use_bias": b is not None, **({"activation": "linear"} if is_split else {})}
        copy = type(layer).from_config({**layer.get_config(), **options})
        copy.build_from_config(layer.get_build_config())
        copy.kernel.assign(W)
        if b is not None:
            copy.bias.assign(b)
        if not is_split:
            return copy(x)
        activation = keras.layers.Activation(layer.activation, name=f"{layer.name}_activation")
        return activation(self._with_marker(sum_point, copy(x)))

    def recurrent(self, layer: keras.layers.RNN, *args: Any, **kwargs: Any) -> Any:
        copy = copy_layer(layer)
        copy.cell.hook = StepMarkers(f"{layer.name}/")
        return copy(*args, **kwargs)

    def bidirectional(self, layer: keras.layers.Bidirectional, *args: Any, **kwargs: Any) -> Any:
        copy = copy_layer(layer)
        for direction in (copy.forward_layer, copy.backward_layer):
            direction.cell.hook = StepMarkers(f"{layer.name}/{direction.name}/")
        return copy(*args, **kwargs)

    def standardized(self, layer: keras.layers.Normalization, x: Any, **_: Any) -> Any:
        return Standardized(layer)(x)

    def normalized(self, layer: keras.Layer, x: Any, **_: Any) -> Any:
        return Normalized(layer)(x)

    def repeated(self, layer: keras.layers.RepeatVector, x: Any, **_: Any) -> Any:
        return Repeated(layer)(x)


class Repeated(keras.Layer):
    """Computes a RepeatVector by a CONCATENATION, since TILE has no integer kernel."""

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
    """Computes a Normalization of each frame by the operators that have quantization points."""

    def __init__(self, layer: keras.layers.Normalization) -> None:
        super().__init__(name=layer.name)
        self._mean, self._factor = (ops.convert_to_numpy(w) for w in standardization(layer))
        self._markers = StepMarkers(f"{layer.name}/")

    def call(self, x: Any) -> Any:
        """`(x - mean) · factor`."""
        return self._markers(SUM, x - self._mean) * self._factor


BUILD: Mapping[type, Callable[..., Any]] = {
    keras.layers.Dense: _Builder.dense_or_convolution,
    keras.layers.Conv1D: _Builder.dense_or_convolution,
    keras.layers.DepthwiseConv1D: _Builder.dense_or_convolution,
    keras.layers.BatchNormalization: _Builder.normalization,
    keras.layers.RNN: _Builder.recurrent,
    keras.layers.Bidirectional: _Builder.bidirectional,
    keras.layers.Normalization: _Builder.standardized,
    keras.layers.LayerNormalization: _Builder.normalized,
    keras.layers.RMSNormalization: _Builder.normalized,
    keras.layers.RepeatVector: _Builder.repeated,
}
