"""Quantization-aware training: a model that trains with fake quantization."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kgated.argument_checks import as_number, check_integer
from kgated.cells import choose, register
from kgated.described_model import PlainInfo
from kgated.finite_weights import check_finite_weights
from kgated.keras_internals.graph import run_on
from kgated.keras_internals.patches import float32_layers
from kgated.keras_internals.subclassed_models import EXAMPLE, as_functional
from kgated.optimize.qat.fake_quant import SCHEMES, Array, QuantParams, has_float64
from kgated.optimize.qat.forward import (
    ForwardState,
    Observer,
    RangeObserver,
    cast_params,
)
from kgated.optimize.qat.int8_arithmetic import RescaleMultipliers, rescale_multipliers
from kgated.optimize.qat.int16_arithmetic import EXACT
from kgated.optimize.qat.layers import check_supported, handler_of
from kgated.optimize.qat.point_search import find_points
from kgated.optimize.qat.prepare import clone_in_float32, fused_layers, unsupported
from kgated.optimize.qat.quantizer import Context, unwrap

# Operations that compute masks in a graph of layers.
MASK_OPERATIONS = ("NotEqual", "Any", "LogicalAnd", "OnesLike")


@register
class QuantizeAware(keras.Model):
    """A model that computes with the integers of the device; built by `quantize_aware`.

    It is compiled, fitted, saved and loaded as any model. `kgated.to_tflite(model, path,
    quantize=model.scheme)` converts it with the learned ranges.

    Args:
        inner: the functional model in float that holds the trained weights.
        scheme, warmup, momentum, freeze_at: as for `quantize_aware`.
        data_info: what the data set says, as in `kgated.described_model`.

    Attributes:
        fused: the names of layers whose operator includes the next layer.
        ranges: (N, 2), the minimum and the maximum at each of the `points`.
        batches: () the number of batches that updated the ranges.
    """

    def __init__(
        self,
        inner: keras.Model,
        scheme: str = "int8",
        warmup: int = 10,
        momentum: float = 0.99,
        freeze_at: int | None = None,
        data_info: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_info = PlainInfo(data_info or {})
        self.scheme, self.warmup, self.momentum, self.freeze_at = (
            scheme,
            warmup,
            momentum,
            freeze_at,
        )
        self.inner = inner
        self.fused = fused_layers(inner)
        self._quantization_points = find_points(self._run, inner.inputs, scheme, self.fused)
        size = (len(self.points), 2)
        self.ranges = self.add_weight(size, "zeros", "float32", trainable=False, name="ranges")
        self.batches = self.add_weight((), "zeros", "int32", trainable=False, name="batches")
        self.built = True

    @property
    def points(self) -> tuple[str, ...]:
        """The names of the points with a learned range, in the order of `ranges`."""
        return self._quantization_points.learned

    @property
    def fixed(self) -> Mapping[str, QuantParams]:
        """The parameters of the points whose kernel fixes them."""
        return self._quantization_points.fixed

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Compute the results of the device; training also updates the ranges."""
        state = self._state(training)
        observer = RangeObserver(self.points) if training else Observer()
        outputs = self._run(inputs, Context(state, observer, self.fused))
        if isinstance(observer, RangeObserver):
            self._learn(observer.ranges(), state.frozen)
        return outputs

    @property
    def has_learned(self) -> bool:
        """Whether a batch has updated the ranges."""
        return int(self.batches) > 0

    def limits(self) -> dict[str, tuple[float, float]]:
        """The minimum and the maximum at each point, by name: learned, or fixed by its kernel."""
        ranges = ops.convert_to_numpy(self.ranges).tolist()
        learned = dict(zip(self.points, map(tuple, ranges), strict=True))
        return {**learned, **{name: params.limits() for name, params in self.fixed.items()}}

    def _state(self, training: bool) -> ForwardState:
        # Training does not need rounding to the last bit: see `int16_arithmetic`.
        exact = self.scheme == "int16x8" and not training and has_float64()
        dtype, params = EXACT if exact else "float32", {**self._learned_params(), **self.fixed}
        return ForwardState(
            scheme=SCHEMES[self.scheme],
            params={n: cast_params(p, dtype) for n, p in params.items()} if exact else params,
            active=self.batches >= self.warmup if training else self.batches > 0,
            frozen=self._frozen(),
            training=training,
            dtype=dtype,
            multipliers=self._multipliers(params),
        )

    def _run(self, inputs: Any, context: Context) -> Any:
        flat = [inputs[x.name] for x in self.inner.inputs] if isinstance(inputs, dict) else inputs
        values = [
            x if "int" in symbolic.dtype else context.input(symbolic.name, x)
            for x, symbolic in zip(keras.tree.flatten(flat), self.inner.inputs, strict=True)
        ]

        def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if handler := handler_of(layer):
                return handler(context, layer, *args, **_stated(kwargs))
            if type(layer).__name__ not in MASK_OPERATIONS:
                raise unsupported(layer, "it is an operation, where a layer is needed")
            return layer(*map(unwrap, args), **kwargs)

        results = keras.tree.map_structure(unwrap, run_on(self.inner, values, visit))
        results = keras.tree.map_structure(lambda y: ops.cast(y, "float32"), results)
        if isinstance(self.inner.output, dict):
            results = keras.tree.pack_sequence_as(self.inner.output, keras.tree.flatten(results))
        return results

    def _learned_params(self) -> dict[str, QuantParams]:
        """The parameters of each point, from the current ranges."""
        low, high = ops.unstack(ops.convert_to_tensor(self.ranges), axis=1)
        params = SCHEMES[self.scheme].params(low, high)
        columns = [ops.unstack(part * ops.ones_like(low), len(self.points)) for part in params]
        rows = zip(*columns, strict=True)
        return {name: QuantParams(*row) for name, row in zip(self.points, rows, strict=True)}

    def _multipliers(self, params: Mapping[str, QuantParams]) -> dict[str, RescaleMultipliers]:
        """The multipliers of the int8 kernels, for each point that is a sum."""
        sums = self._quantization_points.sums
        if self.scheme != "int8" or not sums:
            return {}
        names = [(a, b, name) for name, (a, b) in sums.items()]
        columns = [
            ops.stack([params[n].scale for n in column]) for column in zip(*names, strict=True)
        ]
        parts = [ops.unstack(part, len(names)) for part in rescale_multipliers(*columns)]
        rows = zip(*parts, strict=True)
        return {name: RescaleMultipliers(*row) for name, row in zip(sums, rows, strict=True)}

    def _frozen(self) -> Array:
        if self.freeze_at is None:
            return ops.convert_to_tensor(False)
        return ops.convert_to_tensor(self.batches) >= self.freeze_at

    def _learn(self, observed: Array, frozen: Array) -> None:
        """Update the ranges: the maximum during the warm-up, then a moving average."""
        before = ops.convert_to_tensor(self.ranges)
        low = ops.minimum(before[:, 0], observed[:, 0])
        widest = ops.stack([low, ops.maximum(before[:, 1], observed[:, 1])], axis=1)
        moved = before + (observed - before) * (1.0 - self.momentum)
        batches = ops.convert_to_tensor(self.batches)
        after = ops.where(batches < self.warmup, widest, moved)
        self.ranges.assign(ops.where(frozen, before, after))
        self.batches.assign(batches + 1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "inner": keras.saving.serialize_keras_object(self.inner),
            "scheme": self.scheme,
            "warmup": self.warmup,
            "momentum": self.momentum,
            "freeze_at": self.freeze_at,
            "data_info": dict(self.data_info.document),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "QuantizeAware":
        """Build the model from `get_config()`."""
        inner = keras.saving.deserialize_keras_object(config["inner"], custom_objects)
        return cls(**{**config, "inner": inner})


@float32_layers()
def quantize_aware(
    model: keras.Model,
    scheme: str = "int8",
    *,
    warmup: int = 10,
    momentum: float = 0.99,
    freeze_at: int | None = None,
) -> QuantizeAware:
    """Copy a model for quantization-aware training: it computes what the device will compute.

    Weights, frames, states and intermediate results are rounded as in the file that
    `kgated.to_tflite(qat, path, quantize=scheme)` writes, which then needs no calibration. The
    ranges are moving averages that training updates.

    Args:
        model: functional, Sequential or subclassed, built, trained or not, of recurrent layers
            (kgated's, or Keras's LSTM and GRU), also under Bidirectional, Dense, Conv1D,
            DepthwiseConv1D, each with BatchNormalization, and layers around them. It is not
            changed: its weights are copied.
        scheme: "int8"; "int16x8": int16 activations, int8 weights.
        warmup: number of batches at the start that set the ranges, and round only the weights.
        momentum: of the moving averages of the ranges, from 0 to below 1.
        freeze_at: the batch from which ranges and batch normalization are frozen; None: never.

    Returns:
        The model, to be compiled.

    Raises:
        ValueError: an unknown `scheme`; a `model` that is not built, is quantize-aware already, or
            has a layer that can't be trained in integers, by its name; options out of range.
        TypeError: `model` is not a Keras model.

    Example:
        >>> qat = kgated.quantize_aware(model)
        >>> qat.compile("adam", "sparse_categorical_crossentropy")
        >>> qat.fit(x, y, epochs=5)
        >>> kgated.to_tflite(qat, "model.tflite", quantize="int8")
    """
    choose("scheme", scheme, SCHEMES)
    info = getattr(model, "data_info", None)
    if isinstance(model, keras.Model) and not isinstance(model, QuantizeAware):
        model = as_functional(model, ValueError)
    _check(model, scheme, warmup, momentum, freeze_at)
    return QuantizeAware(
        clone_in_float32(model),
        scheme,
        warmup,
        momentum,
        freeze_at,
        None if info is None else info.document,
        name=f"{model.name}_{scheme}",
    )


def _check(
    model: keras.Model, scheme: str, warmup: int, momentum: float, freeze_at: int | None
) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a `keras.Model`. Received: {model!r}")
    if isinstance(model, QuantizeAware):
        raise ValueError("`model` is quantize-aware already: compile and fit it as it is")
    from kgated.training.recordings import Carrying  # which `import kgated` does not wait for

    if isinstance(model, Carrying):
        raise ValueError(
            "`model` carries its state from batch to batch, and training in integers starts each "
            "batch from zeros: give the model that `carry_state` was given, and fit what is "
            "returned on whole recordings, or on chunks longer than what they have to remember"
        )
    if not model.built or not getattr(model, "inputs", None):
        raise ValueError(
            "`model` must be a functional or Sequential model that is built: give it an `Input`, "
            f"or make a subclassed one functional: {EXAMPLE}"
        )
    for layer in model.layers:
        check_supported(layer, scheme)
    check_finite_weights(model)
    integers = {"warmup": warmup, "freeze_at": warmup if freeze_at is None else freeze_at}
    for name, value in integers.items():
        check_integer(name, value, 1)
    if not 0.0 <= as_number("momentum", momentum) < 1.0:
        raise ValueError(f"`momentum` must be from 0 to below 1. Received: {momentum!r}")


def _stated(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a layer's call that are not None, but `training`, which the state has."""
    return {k: value for k, value in options.items() if value is not None and k != "training"}
