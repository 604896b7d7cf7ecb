"""The result of a conversion."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kgated_edge.format.manifest import Manifest

from kgated.deploy.verification import compare
from kgated.deploy.verification.accuracy import Evaluation
from kgated.deploy.verification.compare import Agreement


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        path: the file.
        manifest: what the file says about itself.
        outputs: how each of its outputs compares with the Keras model's, by name, over the
            sequences of `evaluation`, or of `calibration`.
        file_bytes: its size.
        evaluation: accuracy, or error in units of the output, of the Keras model and of the file;
            None without labels in `evaluation`.
        notes: what a choice left open was decided to be, a sentence each; also logged as warnings
            of the logger "kgated".
    """

    path: Path
    manifest: Manifest
    outputs: Mapping[str, Agreement]
    file_bytes: int
    evaluation: Evaluation | None = None
    notes: tuple[str, ...] = ()

    @property
    def agreement(self) -> Agreement:
        """The agreement of all outputs together with those of the Keras model."""
        return compare.merge_reports(self.outputs.values())
