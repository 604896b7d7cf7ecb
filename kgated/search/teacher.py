"""The teacher of a search: a big model whose outputs the small ones learn from."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kgated.compare.candidates import Candidate, cell_layers
from kgated.compare.splits import Parts
from kgated.compare.storage import TrialQueue
from kgated.compare.study import Budget, CandidateStudy, Log
from kgated.data import zero_padded
from kgated.training import SoftTargets

AUTO = "auto"
CELLS = ("gru", "lstm")
UNITS, TRIALS = 64, 2
CHOSEN = "teacher"
PREDICT_BATCH = 256


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained big model.

    Attributes:
        name: the model's.
        model: (B, T, F) to (B, classes) probabilities.
        soft_targets: its outputs on the training data.
    """

    name: str
    model: keras.Model
    soft_targets: SoftTargets

    @classmethod
    def of(cls, model: keras.Model, parts: Parts, temperature: float, weight: float) -> "Teacher":
        """The teacher with its outputs on the training data.

        Raises:
            ValueError: a model that does not take the data, or has other outputs than the classes.
        """
        x = zero_padded(parts.train)
        try:
            outputs = model.predict(x, batch_size=PREDICT_BATCH, verbose=0)
        except (ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"--teacher can't be run on the data: {reason}") from error
        shape = (len(x), parts.classes)
        is_distribution = getattr(outputs, "shape", None) == shape and _is_distribution(outputs)
        if not is_distribution:
            raise ValueError(
                f"--teacher must have probabilities of the {parts.classes} classes as its output "
                f"per sequence. Received: shape {getattr(outputs, 'shape', None)}"
            )
        return cls(model.name, model, SoftTargets(outputs, temperature, weight))


def load_teacher(path: Path) -> keras.Model:
    """Read a teacher's file.

    Raises:
        ValueError: it is no Keras model.
    """
    if not path.is_file():
        raise ValueError(f"--teacher must be `auto` or a .keras file. There is no file {path}")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--teacher {path}: can't be read as a Keras model: {reason}") from error


def train_teacher(
    queue: TrialQueue, parts: Parts, budget: Budget, folder: Path, log: Log
) -> keras.Model:
    """Train big models of several cells, and take the one of the lowest validation loss.

    Args:
        queue: the trials; a killed training is continued.
        parts: the data.
        budget: of all of them together.
        folder: for the models.
        log: takes a line for each training.
    """
    share_s = budget.seconds / len(CELLS)
    each = Budget(share_s, TRIALS, 1, budget.epochs, budget.patience)
    assert set(CELLS) <= set(cell_layers())
    runs = [
        CandidateStudy(queue, Candidate(cell, UNITS), parts, each, folder, log).run().runs[0]
        for cell in CELLS
    ]
    best = runs[int(np.argmin([run.val_loss for run in runs]))]
    return keras.saving.load_model(folder / best.file_name, compile=False)


def _is_distribution(outputs: np.ndarray) -> bool:
    sums = outputs.sum(axis=-1)
    return bool(np.allclose(sums, 1.0, atol=1e-3) and (outputs >= 0.0).all())
