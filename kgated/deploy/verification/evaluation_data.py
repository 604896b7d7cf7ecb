"""The sequences of `evaluation=`: other ones than those of the calibration, with labels or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset import SequenceData, from_arrays, load_npz
from kgated_edge.format.manifest import Manifest

from kgated.deploy.verification.accuracy import check_evaluation
from kgated.deploy.verification.data.sequences import Sequences
from kgated.deploy.verification.targets import Target

Evaluated: TypeAlias = (
    str | Path | np.ndarray | Mapping[str, np.ndarray] | SequenceData | tuple[Any, ...] | None
)


def evaluation_data(
    evaluation: Evaluated, names: Sequence[str], single: Sequence[str] = ()
) -> SequenceData | None:
    """The sequences of the argument `evaluation`.

    Args:
        evaluation: the path of an `.npz` data set, `SequenceData`, an array (N, T, features) or one
            by input name, or a tuple of these and labels, (x, y) or (x, y, lengths).
        names: of the model's inputs.
        single: those of them that have no time.

    Raises:
        ValueError: none of these, or data that are wrong in themselves.
    """
    several = tuple(names) if len(names) > 1 else ()
    if evaluation is None or isinstance(evaluation, SequenceData):
        return evaluation
    if isinstance(evaluation, str | Path):
        return load_npz(evaluation, several, single)
    try:
        return from_arrays(named_arrays(evaluation), several, single)
    except DataError as error:
        raise ValueError(f"`evaluation`: {error}") from None


def named_arrays(evaluation: Any) -> dict[str, Any]:
    """Arrays as a data set has them, by name: the inputs', `y` and `lengths`.

    Raises:
        ValueError: a tuple of another length.
    """
    more: tuple[Any, ...] = ()
    if isinstance(evaluation, tuple):
        if len(evaluation) not in (2, 3):
            raise ValueError(
                f"`evaluation` must be (x, y) or (x, y, lengths). Received a tuple of "
                f"{len(evaluation)}"
            )
        evaluation, *more_list = evaluation
        more = tuple(more_list)
    inputs = dict(evaluation) if isinstance(evaluation, Mapping) else {"x": evaluation}
    targets = dict(zip(("y", "lengths"), map(np.asarray, more), strict=False))
    return {**inputs, **targets}


@dataclass(frozen=True)
class ComparedData:
    """The sequences on which a finished file is compared.

    Attributes:
        main: the sequences that its outputs are compared on, evenly spread where there are many.
        labelled: the same data with labels, all of them; None without.
    """

    main: Sequences
    labelled: SequenceData | None

    @classmethod
    def of(
        cls, evaluation: Evaluated, manifest: Manifest, target: Target, sequences: Sequences
    ) -> "ComparedData":
        """The data of `evaluation`, or else the sequences of the calibration.

        Raises:
            ValueError: the data do not fit the model.
        """
        names = [frame.name for frame in manifest.frames]
        data = evaluation_data(evaluation, names, manifest.single)
        if data is None:
            return cls(sequences, None)
        labelled = None if data.y is None else data
        try:
            main = target.sequences(data, manifest.frames)
        except ValueError as error:
            raise ValueError(str(error).replace("`calibration`", "`evaluation`")) from None
        if labelled is not None:
            check_evaluation(manifest, labelled)
        return cls(main, labelled)
