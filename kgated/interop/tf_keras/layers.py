"""tf_keras counterparts of kgated's layers, which tfmot prunes, clusters and quantizes."""

import contextlib
from typing import Any, ClassVar, Self

from kgated import layers
from kgated.interop.tf_keras import cells
from kgated.interop.tf_keras.cells import OF_KERAS, matrices, register
from kgated.interop.tf_keras.packages import tf_keras, tfmot

PrunableLayer: Any = tfmot.sparsity.keras.PrunableLayer
ClusterableLayer: Any = tfmot.clustering.keras.ClusterableLayer
# tfmot loads quantized weights before the others; these come first in a twin already.
QUANTIZED = ("kernel", "recurrent_kernel")


class TwinRNN(tf_keras.layers.RNN, PrunableLayer, ClusterableLayer):
    """Base of the twins.

    Args:
        units: U.
        options: keyword arguments of the layer's constructor in `kgated`.
    """

    kgated_class: ClassVar[type[layers.GatedRNN]]
    cell_class: ClassVar[type[cells.Twin]]

    def __init__(self, units: int, **options: Any) -> None:
        of_cell = {k: options.pop(k) for k in list(options) if k in self.kgated_class.cell_options}
        super().__init__(self.cell_class(units, **of_cell), **options)

    def get_prunable_weights(self) -> list[Any]:
        """The kernels, recurrent kernels and projections, for tfmot."""
        return [getattr(self.cell, name) for name in matrices(self.cell)]

    def get_clusterable_weights(self) -> list[tuple[str, Any]]:
        """The prunable weights, with the names that tfmot gives to cells."""
        return [(f"{name}/0", getattr(self.cell, name)) for name in matrices(self.cell)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["cell"]
        of_cell = self.cell.get_config()
        return {**{k: v for k, v in of_cell.items() if k not in OF_KERAS}, **config}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Build the layer from `get_config()`."""
        return cls(**config)


@register
class TwinLSTM(TwinRNN):
    """The twin of `kgated.LSTM`, with its arguments by name."""

    kgated_class, cell_class = layers.LSTM, cells.TwinLSTMCell


@register
class TwinPeepholeLSTM(TwinRNN):
    """The twin of `kgated.PeepholeLSTM`, with its arguments by name."""

    kgated_class, cell_class = layers.PeepholeLSTM, cells.TwinPeepholeLSTMCell


@register
class TwinGRU(TwinRNN):
    """The twin of `kgated.GRU`, with its keyword arguments; tf_keras's own GRU differs."""

    kgated_class, cell_class = layers.GRU, cells.TwinGRUCell


@register
class TwinMinGRU(TwinRNN):
    """The twin of `kgated.MinGRU`, with its arguments by name."""

    kgated_class, cell_class = layers.MinGRU, cells.TwinMinGRUCell


@register
class TwinMinLSTM(TwinRNN):
    """The twin of `kgated.MinLSTM`, with its arguments by name."""

    kgated_class, cell_class = layers.MinLSTM, cells.TwinMinLSTMCell


@register
class TwinBidirectional(tf_keras.layers.Bidirectional, PrunableLayer, ClusterableLayer):
    """tf_keras's Bidirectional over a twin, for tfmot."""

    def get_prunable_weights(self) -> list[Any]:
        """The prunable weights of both directions."""
        both = self.forward_layer, self.backward_layer
        return [weight for layer in both for weight in layer.get_prunable_weights()]

    def get_clusterable_weights(self) -> list[tuple[str, Any]]:
        """The clusterable weights of both directions, with tfmot's names."""
        pairs = enumerate((self.forward_layer, self.backward_layer))
        return [
            (f"{name}/{n}", getattr(layer.cell, name))
            for n, layer in pairs
            for name in matrices(layer.cell)
        ]


@register
class TwinNormalization(tf_keras.layers.Normalization, PrunableLayer, ClusterableLayer):
    """tf_keras's Normalization, which passes a mask on, as in Keras 3."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def get_prunable_weights(self) -> list[Any]:
        """None."""
        return []

    def get_clusterable_weights(self) -> list[tuple[str, Any]]:
        """None."""
        return []


class RecurrentQuantizeConfig(tfmot.quantization.keras.QuantizeConfig):
    """The 8-bit quantization of a twin by `quantize_apply`: weights per channel, and the output.

    The values of the gates and the projection matrix stay in float. `kgated.quantize_aware` in
    Keras 3 simulates the quantization of the deployed file in each of them.

    Example:
        >>> annotate = tfmot.quantization.keras.quantize_annotate_layer
        >>> annotate(TwinLSTM(16), RecurrentQuantizeConfig())
    """

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Each matrix with its quantizer."""
        new = tfmot.quantization.keras.quantizers.LastValueQuantizer
        return [
            (
                getattr(layer.cell, name),
                new(num_bits=8, per_axis=True, symmetric=True, narrow_range=True),
            )
            for name in QUANTIZED
        ]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Replace the layer's matrices by quantized ones."""
        for name, value in zip(QUANTIZED, quantize_weights, strict=True):
            setattr(layer.cell, name, value)

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """None."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Do nothing: no activations are quantized."""
        assert not quantize_activations

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """One quantizer, whose range is a moving average of the output's."""
        new = tfmot.quantization.keras.quantizers.MovingAverageQuantizer
        return [new(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

    def get_config(self) -> dict[str, Any]:
        """An empty configuration: there are no options."""
        return {}


def scope() -> Any:
    """A custom object scope for loading a saved model of twins, including tfmot's names.

    tfmot's own `cluster_scope` leaves out the wrapper of recurrent layers.

    Example:
        >>> with scope():
        ...     model = tf_keras.models.load_model("clustered.h5")
    """
    from tensorflow_model_optimization.python.core.clustering.keras import cluster_wrapper

    known: list[Any] = [TwinLSTM, TwinPeepholeLSTM, TwinGRU, TwinMinGRU, TwinMinLSTM]
    known += [TwinBidirectional, TwinNormalization]
    known += [RecurrentQuantizeConfig, cluster_wrapper.ClusterWeightsRNN]
    scopes = contextlib.ExitStack()
    for tool, name in (
        ("sparsity", "prune"),
        ("clustering", "cluster"),
        ("quantization", "quantize"),
    ):
        scopes.enter_context(getattr(getattr(tfmot, tool).keras, f"{name}_scope")())
    scopes.enter_context(tf_keras.utils.custom_object_scope({cls.__name__: cls for cls in known}))
    return scopes
