"""Which layer of a quantized file costs most: the error that is left when it stays in float."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from kgated.deploy.recipe import Recipe
from kgated.deploy.verification.compare import Agreement, merge_reports
from kgated.deploy.verification.data.sequences import Sequences
from kgated.deploy.verification.targets import Target
from kgated.deploy.verification.trial import trial_file
from kgated.errors import ConversionError

MAX_SEQUENCES = 4


@dataclass(frozen=True)
class LayerCost:
    """The cost of the quantization of one layer.

    Attributes:
        layer: its name, as `skip` takes it.
        agreement: of the file that keeps this layer in float.
        rmse_saved: the RMSE of the fully quantized file minus that of this file.
    """

    layer: str
    agreement: Agreement
    rmse_saved: float

    @property
    def share_saved(self) -> float:
        """The part of the fully quantized file's RMSE that is saved, from 0 to 1."""
        total = self.agreement.rmse + self.rmse_saved
        return self.rmse_saved / total if total else 0.0


def layer_costs(
    quantize: Callable[[Recipe], bytes],
    recipe: Recipe,
    layers: Iterable[str],
    target: Target,
    sequences: Sequences,
) -> list[LayerCost]:
    """Keep one layer at a time in float and compare each file with the Keras model.

    One quantization for each layer, without a new calibration. Of the sequences the first
    `MAX_SEQUENCES` are run.

    Args:
        quantize: from a recipe to the finished file, such as `quantized_file` of one float file.
        recipe: the recipe whose loss is to be explained; its own `skip` stays.
        layers: names of layers to try; those that can't stay in float are left out.
        target: what the files are compared with.
        sequences: to compare on.

    Returns:
        The costs, the most costly layer first.

    Raises:
        ConversionError: the quantization without another layer in float fails.
    """
    recipe = replace(recipe, target="cpu")  # files for microcontrollers have no float layers
    used = sequences[:MAX_SEQUENCES]

    def measure(skip: tuple[str, ...]) -> Agreement:
        content = quantize(replace(recipe, skip=(*recipe.skip, *skip)))
        return compare_bytes(content, target, used)

    total = measure(())

    def reports() -> Iterator[tuple[str, Agreement]]:
        for layer in layers:
            try:
                yield layer, measure((layer,))
            except ConversionError:
                continue  # it can't stay in float, and so costs nothing that `skip` would save

    costs = [LayerCost(name, r, total.rmse - r.rmse) for name, r in reports()]
    return sorted(costs, key=lambda cost: -cost.rmse_saved)


def compare_bytes(content: bytes, target: Target, sequences: Sequences) -> Agreement:
    """Run a file that is not on disk over sequences; the agreement of all outputs together."""
    with trial_file(content) as path:
        return merge_reports(target.compare(path, sequences).values())
