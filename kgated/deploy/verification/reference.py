"""The Keras model as the reference that a file is compared with."""

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from kgated_edge.format.tensor_spec import Array

from kgated.deploy.streaming import StepModel
from kgated.deploy.verification.data.sequences import Arrays, Sequences
from kgated.errors import ConversionError, cause, naming_layer
from kgated.keras_internals.graph import any_length, flatten_layers, run_on
from kgated.keras_internals.patches import exact_addition

MAX_REMEMBERED = 64  # groups of sequences of one length


@dataclass(frozen=True)
class Reference:
    """The Keras model and its outputs.

    Attributes:
        model: the Keras model, over any number of frames.
        frames, outputs: the names of its inputs and outputs in the file, in the model's order.
        has_time: for each output whether it has a result per step, and not one per sequence.
        frames_per_step: how many frames a step takes.
        stride: of how many results of the model the file has the last; 1: it has all.
    """

    model: keras.Model
    frames: tuple[str, ...]
    outputs: tuple[str, ...]
    has_time: tuple[bool, ...]
    frames_per_step: int
    stride: int = 1
    _remembered: dict[tuple[int, ...], tuple[list[Array], Arrays]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, model: keras.Model, step: StepModel) -> "Reference":
        """The reference for the step of a model."""
        size = step.frames_per_step
        stride = 1 + step.results_left_out
        return cls(any_length(model), step.frames, step.outputs, step.has_time, size, stride)

    @property
    def is_timed(self) -> dict[str, bool]:
        """`has_time` by output name."""
        return dict(zip(self.outputs, self.has_time, strict=True))

    @property
    def _mixes_batch(self) -> bool:
        """Whether a result depends on the other sequences of a batch, as decibels below a peak."""
        # Of quantization-aware training the model is a function; it has no such layer.
        parts = flatten_layers(self.model) if isinstance(self.model, keras.Layer) else []
        return any(isinstance(part, keras.layers.MelSpectrogram) for part in parts)

    def predict_once(self, sequences: Sequences) -> Arrays:
        """`predict` for sequences that several files are compared on: computed at the first."""
        inputs = [sequence[name] for sequence in sequences for name in self.frames]
        key = tuple(map(id, inputs))
        if key not in self._remembered:
            if len(self._remembered) == MAX_REMEMBERED:
                self._remembered.clear()
            # The arrays are kept, too: while they live no other array has their ids.
            self._remembered[key] = inputs, self.predict(sequences)
        return self._remembered[key][1]

    def predict(self, sequences: Sequences) -> Arrays:
        """Each output (N, ...) of N sequences of one length."""
        if len(sequences) > 1 and self._mixes_batch:
            return self._predict_rows(sequences)
        batch = [np.stack([sequence[name] for sequence in sequences]) for name in self.frames]
        tensors = [keras.ops.convert_to_tensor(x) for x in batch]
        try:
            with exact_addition():
                results = self.model(tensors if len(tensors) > 1 else tensors[0], training=False)
        except Exception as error:
            if len(sequences) > 1:  # which a constant with a batch axis of 1 may forbid
                return self._predict_rows(sequences)
            raise self._failure(tensors, error) from error
        flat: list[Any] = keras.tree.flatten(results)
        arrays = [np.asarray(keras.ops.convert_to_numpy(y), np.float32) for y in flat]
        timed, stride = self.is_timed, self.stride
        outputs = dict(zip(self.outputs, arrays, strict=True))
        return {n: y[:, stride - 1 :: stride] if timed[n] else y for n, y in outputs.items()}

    def _predict_rows(self, sequences: Sequences) -> Arrays:
        rows = [self.predict([sequence]) for sequence in sequences]
        return {name: np.concatenate([row[name] for row in rows]) for name in self.outputs}

    def _failure(self, tensors: list[Any], error: Exception) -> ConversionError:
        """The error for a model that Keras itself can't compute, with the layer that fails."""
        shapes = " and ".join(str(tuple(x.shape)) for x in tensors)
        where = f"in Keras itself, on sequences {shapes} as they are to be converted"
        advice = "call the model on such a sequence to see, and mend the layer"
        try:
            if isinstance(self.model, keras.Model):
                _call_naming_layers(self.model, tensors, where, advice)
        except ConversionError as named:
            return named
        return ConversionError(f"the model fails {where}: {cause(error)}; {advice}")

    def predict_steps(self, sequence: Arrays) -> Arrays:
        """The results after each step over one sequence: (results, *output) by output name.

        An output that has one result per sequence is computed on each prefix.
        """
        if all(self.has_time):
            return {name: array[0] for name, array in self.predict([sequence]).items()}
        size, length = self.frames_per_step, len(next(iter(sequence.values())))
        ends = range(size, length + 1, size)  # the last prefix is the sequence itself
        prefixes = [self.predict([{n: x[:end] for n, x in sequence.items()}]) for end in ends]
        return {
            name: prefixes[-1][name][0] if timed else np.concatenate([y[name] for y in prefixes])
            for name, timed in self.is_timed.items()
        }


def _call_naming_layers(model: keras.Model, values: list[Any], where: str, advice: str) -> None:
    """Call the layers one after the other, to raise an error that names the one that fails."""

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        with naming_layer(layer, where, advice):
            return layer(*args, **kwargs)

    run_on(model, values, call)
