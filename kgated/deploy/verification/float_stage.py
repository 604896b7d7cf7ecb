"""The float file that a quantization starts from: proved, and with the samples for its ranges."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kgated_edge.format.manifest import Manifest

from kgated.deploy.manifest_writer import embed
from kgated.deploy.quantization.ranges.calibration import Ranges
from kgated.deploy.quantization.scales.shared_scales import SharedScales
from kgated.deploy.quantization.worker_job import (
    QuantizationJob,
    quantize_in_worker,
    quantized_file,
)
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable, scope_name
from kgated.deploy.verification.data.feature_ranges import check_frames_vary
from kgated.deploy.verification.data.sequences import Sequences
from kgated.deploy.verification.float_proof import prove_float
from kgated.deploy.verification.layer_costs import LayerCost, layer_costs
from kgated.deploy.verification.targets import Samples, Target
from kgated.deploy.verification.trial import trial_file
from kgated.deploy.worker import run_in_worker
from kgated.errors import ConversionError

MAX_COST_SAMPLES = 256  # to take ranges from, for each layer
MAX_COST_LAYERS = 12


@dataclass(frozen=True)
class FloatStage:
    """A float file that agrees with its Keras model.

    Attributes:
        content: the file, with its manifest.
        layers: which layer each operator comes from.
        shared: (input, output) of the signature that share scale and zero point.
        samples: inputs of the signature, for ranges; empty where the recipe needs none.
        ranges: by tensor name, from quantization-aware training; None: those of the samples.
    """

    content: bytes
    layers: LayerTable
    shared: SharedScales
    samples: Samples
    ranges: Ranges | None = None

    @classmethod
    def of(
        cls,
        file: FloatFile,
        manifest: Manifest,
        target: Target,
        sequences: Sequences,
        recipe: Recipe,
        ranges: Ranges | None = None,
    ) -> "FloatStage":
        """Prove a float file, and take samples where the recipe needs ranges.

        Args:
            file: the float file, which the manifest is written into.
            manifest: of the conversion.
            target: the Keras model in float.
            sequences: to prove it and to calibrate on.
            recipe: what it will be quantized by.
            ranges: as in the attributes.

        Raises:
            ConversionError: it does not run, or disagrees with the Keras model.
            ValueError: a static recipe, and the frames of the sequences are all the same.
        """
        shared = [(state.name, state.name) for state in manifest.states]
        content, samples = embed(file.model, manifest), Samples([], [])
        with trial_file(content) as path:
            run_in_worker(path, recipe)
            prove_float(path, target, sequences)
            if recipe.is_static:
                if ranges is None:
                    check_frames_vary(sequences, manifest.frames)
                used = sequences if ranges is None else sequences[:1]  # to see that the file runs
                samples = target.samples(path, used)
        return cls(content, file.layers, shared, samples, ranges)

    def quantized(self, recipe: Recipe, every: int = 1) -> bytes:
        """The finished file of a recipe, with the ranges of every n-th sample.

        Raises:
            ConversionError: as from `quantized_file`.
        """
        if not recipe.is_static:
            return quantized_file(QuantizationJob(self.content, self.layers, recipe, []))
        inputs, origins = self.samples.inputs[::every], self.samples.origins[::every]
        options = (inputs, self.shared, self.ranges, origins)
        return quantize_in_worker(QuantizationJob(self.content, self.layers, recipe, *options))

    def costs(
        self, recipe: Recipe, names: Iterable[str], target: Target, sequences: Sequences
    ) -> list[LayerCost]:
        """The cost of each of the first `MAX_COST_LAYERS` layers, the largest first.

        Args:
            recipe: what the file was quantized by.
            names: of the layers; those that left no operator are not looked at.
            target: what the files are compared with.
            sequences: to compare on.

        Returns:
            The costs; none where that can't be measured, as in a model whose training has fixed
            its ranges.
        """
        present = set(self.layers.as_dict().values())
        layers = [name for name in names if scope_name(name) in present][:MAX_COST_LAYERS]
        every = -(-len(self.samples.inputs) // MAX_COST_SAMPLES) or 1
        recipe = replace(recipe, target="cpu")
        if len(layers) < 2 or self.ranges is not None:
            return []
        try:
            return layer_costs(
                lambda recipe: self.quantized(recipe, every), recipe, layers, target, sequences
            )
        except ConversionError:
            return []  # of fewer samples, or with kernels of another target, it is no file
