"""Quantizes a float `.tflite` file; the order of the stages is stated here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization import checks
from kgated.deploy.quantization.job import QuantizationState, Samples
from kgated.deploy.quantization.loops import has_loops, quantize_loops
from kgated.deploy.quantization.lstm.int8 import write_integer
from kgated.deploy.quantization.lstm.ranges import fused_ranges
from kgated.deploy.quantization.lstm.weights import (
    fused_layers,
    has_fused,
    write_half,
    write_hybrid,
)
from kgated.deploy.quantization.quantizer_rules import apply_rules, rules_for
from kgated.deploy.quantization.ranges.attention_masks import limit_masks
from kgated.deploy.quantization.ranges.calibration import Ranges, calibrate
from kgated.deploy.quantization.ranges.range_rules import (
    avoid_power_of_two_scales,
    clamp_rsqrt_ranges,
    widen_constant_ranges,
)
from kgated.deploy.quantization.ranges.robust_ranges import robust_ranges
from kgated.deploy.quantization.rewrites import decompositions, float_io, float_rewrites
from kgated.deploy.quantization.rewrites.activation_tables import collapse_activations
from kgated.deploy.quantization.rewrites.integer_operators import use_integer_kernels
from kgated.deploy.quantization.rewrites.masked_means import collapse_masked_means
from kgated.deploy.quantization.scales.bias_scales import fit_weight_scales
from kgated.deploy.quantization.scales.scale_checks import check_scales
from kgated.deploy.quantization.scales.shared_scales import (
    SharedScales,
    quantize_with_shared_scales,
    share_ranges_of_selects,
)
from kgated.deploy.quantization.scales.weight_checks import check_weights
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import scopes
from kgated.errors import ConversionError, first_line


def quantize(
    file: FloatFile,
    recipe: Recipe,
    samples: Samples = (),
    shared: SharedScales = (),
    ranges: Ranges | None = None,
    origins: Sequence[int] | None = None,
) -> schema.ModelT:
    """Quantize a float file.

    Args:
        file: with one signature; its operators may be rewritten on the way.
        recipe: what to make of it.
        samples: for a static recipe the signature's inputs by name, with real data and states.
        shared: (input, output) of the signature that share scale and zero point, as a state's do.
        ranges: by tensor name, from quantization-aware training; None: those of the samples.
        origins: the sequence that each sample is of; None: each of one of its own.

    Returns:
        The quantized file.

    Raises:
        ConversionError: a static recipe has no samples, an operator has no integer kernel, a layer
            of `recipe.skip` has no operator, a pair of `shared` can't share a scale.
    """
    if recipe.quantization.is_float:
        return file.model
    try:
        if recipe.is_static and has_loops(file.model):
            return quantize_loops(file, recipe, samples, _run_stages)
        return _run_stages(file, recipe, samples, shared, ranges, origins)
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(
            f"the quantizer failed with recipe {recipe.name}: {first_line(error)}"
        ) from error


def _run_stages(
    file: FloatFile,
    recipe: Recipe,
    samples: Samples,
    shared: SharedScales,
    ranges: Ranges | None = None,
    origins: Sequence[int] | None = None,
) -> schema.ModelT:
    """All stages that the recipe has, for a file without loops."""
    known, from_qat = dict(ranges or {}), ranges is not None
    job = QuantizationState(file, recipe, samples, shared, known, from_qat, origins)
    for stage in STAGES:
        if stage.applies(job):
            stage.run(job)
    assert job.quantized is not None, "one of the stages runs the quantizer"
    return job.quantized


def _rewrite_for_int16(job: QuantizationState) -> None:
    float_rewrites.rewrite_operators(job.file, float_rewrites.FOR_INT16)
    decompositions.decompose_for_int16(job.file)


def _rewrite_for_integers(job: QuantizationState) -> None:
    float_rewrites.rewrite_operators(job.file, float_rewrites.FOR_INTEGERS)
    decompositions.decompose_for_integers(job.file)


def _rewrite_gather(job: QuantizationState) -> None:
    float_rewrites.rewrite_operators(job.file, float_rewrites.FOR_INTEGER_WEIGHTS)


def _set_rules(job: QuantizationState) -> None:
    job.rules = rules_for(job.recipe, job.file)


def _calibrate(job: QuantizationState) -> None:
    job.ranges = calibrate(job.file.content, job.rules, job.samples)
    if not job.ranges:
        raise ConversionError(f"recipe {job.recipe.name} needs samples to take its ranges from")


def _narrow_ranges(job: QuantizationState) -> None:
    how = (job.recipe.calibration_method, job.recipe.percentile, job.bits)
    job.ranges = robust_ranges(job.file.content, job.ranges, job.samples, job.origins, *how)


def _limit_ranges(job: QuantizationState) -> None:
    job.ranges = limit_masks(job.file, job.ranges, job.bits)
    job.ranges = clamp_rsqrt_ranges(job.file.model, job.ranges, job.bits)
    job.ranges = widen_constant_ranges(job.file.model, job.ranges)
    job.ranges = share_ranges_of_selects(job.file.model, job.ranges)


def _avoid_powers_of_two(job: QuantizationState) -> None:
    job.ranges = avoid_power_of_two_scales(job.file.model, job.ranges)


def _collapse(job: QuantizationState) -> None:
    job.means = collapse_masked_means(job.file, job.recipe.skip)
    points, on_mcu = job.ranges if job.from_qat else (), job.recipe.target == "mcu"
    job.functions = collapse_activations(job.file, job.bits, job.recipe.skip, points, on_mcu)


def _observe_lstms(job: QuantizationState) -> None:
    """Take the ranges at each fused LSTM of the file, which the quantizer does not know."""
    job.lstm_ranges = fused_ranges(job.file, job.samples)
    layers = fused_layers(job.file) - set(scopes(job.recipe.skip))
    if layers and not job.recipe.quantization.lstm_kernel:
        raise ConversionError(
            f"recipe {job.recipe.name} has no integer kernel for the fused LSTM of "
            f'{sorted(layers)}; convert with `quantize="int8"` or `lowering="unrolled"`'
        )


def _quantize_static(job: QuantizationState) -> None:
    def apply(ranges: Ranges) -> schema.ModelT:
        model, job.used_ranges = apply_rules(job.file, job.rules, ranges)
        fit_weight_scales(job.file.model, model)
        float_io.let_float_operators_read_floats(model)
        skip, layers, known = job.recipe.skip, job.file.layers, job.used_ranges
        use_integer_kernels(model, layers, known, job.bits, skip, job.functions, job.means)
        if job.lstm_ranges:
            write_integer(model, layers, job.lstm_ranges, skip)
        float_io.use_outputs_of(job.file.model, model)
        float_io.use_float_io(model)
        checks.check_is_integer(model, layers, job.recipe)  # a state in float can't share a scale
        return model

    job.quantized = quantize_with_shared_scales(
        job.file.model, job.ranges, job.shared, apply, job.file.layers
    )


def _quantize_weights(job: QuantizationState) -> None:
    job.quantized, _ = apply_rules(job.file, job.rules, None)


def _write_lstm_weights(job: QuantizationState) -> None:
    assert job.quantized is not None, "the quantizer has run"
    write = write_hybrid if job.recipe.quantization.has_integer_weights else write_half
    write(job.quantized, job.file.layers, job.recipe.skip)


def _check(job: QuantizationState) -> None:
    assert job.quantized is not None, "the quantizer has run"
    checks.check_constant_operands(job.quantized, job.file.layers, job.recipe)
    checks.check_is_integer(job.quantized, job.file.layers, job.recipe)


def _check_against_float(job: QuantizationState) -> None:
    assert job.quantized is not None, "the quantizer has run"
    check_weights(job.file.model, job.quantized, job.file.layers)
    if job.recipe.is_static:
        check_scales(job.quantized, job.used_ranges)
        checks.check_shared(job.quantized, job.shared)


def _is_static(job: QuantizationState) -> bool:
    return job.recipe.is_static


def _is_dynamic(job: QuantizationState) -> bool:
    return not job.recipe.is_static


def _has_int16(job: QuantizationState) -> bool:
    return job.recipe.quantization.activation_bits == 16


@dataclass(frozen=True)
class Stage:
    """A step of the quantization.

    Attributes:
        run: what it does.
        applies: whether a job has it.
        reason: why it stands before the next one that its jobs have.
    """

    run: Callable[[QuantizationState], None]
    applies: Callable[[QuantizationState], bool]
    reason: str


STAGES = (
    Stage(
        _rewrite_for_int16,
        _has_int16,
        "the rules and the ranges are of the operators that will be in the file",
    ),
    Stage(
        _rewrite_for_integers,
        _is_static,
        "the rules and the ranges are of the operators that will be in the file",
    ),
    Stage(
        _rewrite_gather,
        _is_dynamic,
        "the rules name EMBEDDING_LOOKUP, and not the GATHER that Keras has",
    ),
    Stage(_set_rules, lambda job: True, "calibration leaves out what the rules keep in float"),
    Stage(
        _calibrate,
        lambda job: job.recipe.is_static and not job.from_qat,
        "what corrects ranges needs them",
    ),
    Stage(
        _narrow_ranges,
        lambda job: job.recipe.calibration_method != "minmax" and not job.from_qat,
        "what corrects ranges takes the narrowed ones",
    ),
    Stage(
        _limit_ranges,
        lambda job: job.recipe.is_static and not job.from_qat,
        "it changes ranges, and may make a power of two of a scale",
    ),
    Stage(
        _avoid_powers_of_two,
        # Quantization-aware training has rounded to its own ranges.
        lambda job: _has_int16(job) and not job.from_qat,
        "the quantizer makes scales of the ranges as they are then",
    ),
    Stage(
        _observe_lstms,
        lambda job: job.recipe.is_static and has_fused(job.file.model),
        "the float file runs here, which it can't with placeholders",
    ),
    Stage(
        _collapse,
        _is_static,
        "the ranges around a region are known, and the quantizer must not see what is in it",
    ),
    Stage(
        _quantize_static,
        _is_static,
        "the check looks at the result: pairs share a scale, LSTMs and inputs have their types",
    ),
    Stage(
        _quantize_weights,
        _is_dynamic,
        "the quantizer leaves fused LSTMs in float, and packs no weights that are integers already",
    ),
    Stage(_write_lstm_weights, _is_dynamic, "the check compares every weight with the float file"),
    Stage(_check, _is_static, "its errors name the layer to keep in float"),
    Stage(_check_against_float, lambda job: True, "it is the last one"),
)
