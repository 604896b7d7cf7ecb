"""LayerNormalization and RMSNormalization by the operators that have quantization points."""

from typing import Any

import keras
from keras import ops

from kgated.deploy.from_qat.markers import StepMarkers
from kgated.optimize.qat.normalization import averaging, is_centred, points_of, weights_of


class Normalized(keras.layers.Identity):
    """Computes a normalization of each frame, marked as `kgated.optimize.qat.normalization`."""

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__(name=layer.name)
        self._epsilon, self._is_centred = layer.epsilon, is_centred(layer)
        self._weights = [None if w is None else ops.convert_to_numpy(w) for w in weights_of(layer)]
        self._points, self._markers = points_of(layer)[:-1], StepMarkers("")

    def call(self, x: Any) -> Any:
        """The normalized frames; the point of the result is marked by who calls."""
        at, averages = self._markers, averaging(x.shape[-1])
        if self._is_centred:
            mean = at(f"{self.name}/mean", ops.matmul(x, averages))
            x = at(f"{self.name}/centred", x - mean)
        squares = at(f"{self.name}/squared", x * x)
        variance = at(f"{self.name}/variance", ops.matmul(squares, averages) + self._epsilon)
        y = x * at(f"{self.name}/inverse", ops.rsqrt(variance))
        return self._with_weights(y)

    def _with_weights(self, y: Any) -> Any:
        (gamma, beta), points = self._weights, iter(self._points)
        if gamma is not None:
            y = self._markers(next(points), y) * gamma
        if beta is not None:
            y = self._markers(next(points), y) - (-beta)
        return y
