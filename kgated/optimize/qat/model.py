"""Quantization-aware training: a model that computes in training what the device will compute."""

from typing import Any

import keras
from keras import ops

from kgated.cells import choose, register
from kgated.keras_graph import run_on
from kgated.optimize.qat.fake_quant import SCHEMES, Array, Grid, has_float64
from kgated.optimize.qat.forward import Call
from kgated.optimize.qat.int8_arithmetic import Adder, adder
from kgated.optimize.qat.int16_arithmetic import EXACT
from kgated.optimize.qat.layers import HANDLERS
from kgated.optimize.qat.prepare import _own_copy, joined_layers
from kgated.optimize.qat.quantizer import Context, plain, unsupported

# Operations of masks, which stand in a graph beside its layers.
ON_MASKS = ("NotEqual", "Any", "LogicalAnd", "OnesLike")


@register
class QuantizeAware(keras.Model):
    """A model whose numbers are those of the integers on the device; made by `quantize_aware`.

    It is compiled, fitted, saved and loaded as any model. `kgated.to_tflite(model, path,
    quantize=model.scheme)` converts it with the ranges that it learned.

    Args:
        inner: the layers in float, functional, their weights those that are trained.
        scheme, warmup, momentum, freeze_at: as for `quantize_aware`.

    Attributes:
        points: the names of the points with a learned range, in the order of `ranges`.
        ranges: (N, 2), the least and the largest value at each.
        batches: () how many batches it has learned from.
    """

    def __init__(
        self,
        inner: keras.Model,
        scheme: str = "int8",
        warmup: int = 10,
        momentum: float = 0.99,
        freeze_at: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scheme, self.warmup, self.momentum, self.freeze_at = (
            scheme,
            warmup,
            momentum,
            freeze_at,
        )
        self.inner = inner
        self.joined = joined_layers(inner)
        self.points = self._find_points()
        size = (len(self.points), 2)
        self.ranges = self.add_weight(size, "zeros", "float32", trainable=False, name="ranges")
        self.batches = self.add_weight((), "zeros", "int32", trainable=False, name="batches")
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """What the device computes; in training the ranges learn from what they see."""
        frozen = self._frozen()
        enough = self.batches >= self.warmup if training else self.batches > 0
        grids = self._grids()
        # A device's rounding to the last bit is for results, not for training: see `kernels16`.
        exact = self.scheme == "int16x8" and not training and has_float64()
        dtype = EXACT if exact else "float32"
        call = Call(SCHEMES[self.scheme], {}, enough, training, dtype, self._adders(grids))
        call.learned = {name: call.typed(grid) for name, grid in grids.items()}
        outputs = self._run(inputs, Context(call, self.joined, frozen, training))
        if training:
            self._learn(call, frozen)
        return outputs

    @property
    def has_learned(self) -> bool:
        """Whether any batch was trained on, so that there are ranges."""
        return int(self.batches) > 0

    def limits(self) -> dict[str, tuple[float, float]]:
        """The least and the largest number at each point, by name: learned, or its kernel's."""
        learned = ops.convert_to_numpy(self.ranges).tolist()
        found = dict(zip(self.points, map(tuple, learned), strict=True))
        return {**found, **{name: grid.limits() for name, grid in self.fixed.items()}}

    def _run(self, inputs: Any, context: Context) -> Any:
        flat = [inputs[x.name] for x in self.inner.inputs] if isinstance(inputs, dict) else inputs
        values = [
            x if "int" in symbolic.dtype else context.input(symbolic.name, x)
            for x, symbolic in zip(keras.tree.flatten(flat), self.inner.inputs, strict=True)
        ]

        def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
            handler = next((HANDLERS[k] for k in type(layer).__mro__ if k in HANDLERS), None)
            if handler is not None:
                return handler(context, layer, *args, **_given(kwargs))
            if type(layer).__name__ not in ON_MASKS:
                known = ", ".join(sorted({kind.__name__ for kind in HANDLERS}))
                raise unsupported(layer, f"its kind is none of {known}")
            return layer(*map(plain, args), **kwargs)

        results = keras.tree.map_structure(plain, run_on(self.inner, values, visit))
        return keras.tree.map_structure(lambda y: ops.cast(y, "float32"), results)

    def _grids(self) -> dict[str, Grid]:
        """The grid of each point by what was learned up to now."""
        least, most = ops.unstack(ops.convert_to_tensor(self.ranges), axis=1)
        grid = SCHEMES[self.scheme].grid(least, most)
        parts = [ops.unstack(part * ops.ones_like(least), len(self.points)) for part in grid]
        return {n: Grid(*one) for n, one in zip(self.points, zip(*parts, strict=True), strict=True)}

    def _adders(self, learned: dict[str, Grid]) -> dict[str, Adder]:
        """How the kernels of int8 add, at each point that is a sum."""
        if self.scheme != "int8" or not self.sums:
            return {}
        scales = {name: grid.scale for name, grid in {**learned, **self.fixed}.items()}
        names = [(one, other, name) for name, (one, other) in self.sums.items()]
        columns = (ops.stack([scales[n] for n in column]) for column in zip(*names, strict=True))
        parts = [ops.unstack(part, len(names)) for part in adder(*columns)]
        return {n: Adder(*one) for n, one in zip(self.sums, zip(*parts, strict=True), strict=True)}

    def _frozen(self) -> Array:
        if self.freeze_at is None:
            return ops.convert_to_tensor(False)
        return ops.convert_to_tensor(self.batches) >= self.freeze_at

    def _learn(self, call: Call, frozen: Array) -> None:
        """The ranges of a batch: all of them while it warms up, then a moving average."""
        seen = [ops.stack([-call.seen[name][0], call.seen[name][1]]) for name in self.points]
        now, before = ops.stack(seen), ops.convert_to_tensor(self.ranges)
        widest = ops.stack(
            [ops.minimum(before[:, 0], now[:, 0]), ops.maximum(before[:, 1], now[:, 1])], axis=1
        )
        moved = before + (now - before) * (1.0 - self.momentum)
        batches = ops.convert_to_tensor(self.batches)
        after = ops.where(batches < self.warmup, widest, moved)
        self.ranges.assign(ops.where(frozen, before, after))
        self.batches.assign(batches + 1)

    def _find_points(self) -> tuple[str, ...]:
        """The names of the points, from one symbolic call."""
        call = Call(SCHEMES[self.scheme], None, True)
        context = Context(call, self.joined, ops.convert_to_tensor(False), False)
        run = self._run

        class Finder(keras.Layer):
            refused: ValueError | None = None

            def call(self, *inputs: Any) -> Any:
                try:
                    return run(list(inputs), context)
                except ValueError as error:
                    self.refused = error
                    raise

        finder = Finder()
        try:
            finder(*self.inner.inputs)
        except ValueError as error:  # Keras puts its own words around it
            raise finder.refused or error from None
        self.fixed, self.sums = call.fixed, call.sums
        return tuple(call.met)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "inner": keras.saving.serialize_keras_object(self.inner),
            "scheme": self.scheme,
            "warmup": self.warmup,
            "momentum": self.momentum,
            "freeze_at": self.freeze_at,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "QuantizeAware":
        """Build the model from `get_config()`."""
        inner = keras.saving.deserialize_keras_object(config["inner"], custom_objects)
        return cls(**{**config, "inner": inner})


def quantize_aware(
    model: keras.Model,
    scheme: str = "int8",
    *,
    warmup: int = 10,
    momentum: float = 0.99,
    freeze_at: int | None = None,
) -> QuantizeAware:
    """A model to train on as usual that computes what the integers on the device will compute.

    Weights, frames, states and every result in between are rounded as in the file that
    `kgated.to_tflite(qat, path, quantize=scheme)` makes of it, which then needs no calibration.
    The ranges are learned on the way, by moving averages.

    Args:
        model: functional or Sequential, built, trained or not, of recurrent layers (kgated's, or
            Keras's LSTM and GRU), also under Bidirectional, Dense, Conv1D, each with
            BatchNormalization, and layers around them. It stays as it is; its weights are copied.
        scheme: "int8"; "int16x8": int16 activations, int8 weights.
        warmup: batches at the start that only set the ranges, and round weights alone.
        momentum: of the moving averages of the ranges, 0 to below 1.
        freeze_at: the batch from which ranges and batch normalization stay as they are; None:
            they go on learning.

    Returns:
        The model, to be compiled.

    Raises:
        ValueError: an unknown `scheme`; a `model` that is not built, is quantize-aware already, or
            has a layer that can't be trained in integers, by its name; options out of range.

    Example:
        >>> qat = kgated.quantize_aware(model)
        >>> qat.compile("adam", "sparse_categorical_crossentropy")
        >>> qat.fit(x, y, epochs=5)
        >>> kgated.to_tflite(qat, "model.tflite", quantize="int8")
    """
    choose("scheme", scheme, SCHEMES)
    _check(model, warmup, momentum, freeze_at)
    return QuantizeAware(
        _own_copy(model), scheme, warmup, momentum, freeze_at, name=f"{model.name}_{scheme}"
    )


def _check(model: keras.Model, warmup: int, momentum: float, freeze_at: int | None) -> None:
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
            "`model` must be a functional or Sequential model that is built: give it an `Input`"
        )
    whole = {"warmup": warmup, "freeze_at": warmup if freeze_at is None else freeze_at}
    for name, value in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` must be an integer of at least 1. Received: {value!r}")
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"`momentum` must be from 0 to below 1. Received: {momentum!r}")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a layer's call that say something; training is said by the model's call."""
    return {k: value for k, value in options.items() if value is not None and k != "training"}
