"""Opens a file of either mode."""

from pathlib import Path

from kgated_edge.format.reader import read_manifest
from kgated_edge.runtime.sequence_model import SequenceModel
from kgated_edge.runtime.stream_model import EdgeModel


def open_model(path: str | Path, num_threads: int = 1) -> EdgeModel | SequenceModel:
    """The runner of a model file, by its manifest's mode; raises as `EdgeModel`."""
    kind = SequenceModel if read_manifest(path).mode == "sequence" else EdgeModel
    return kind(path, num_threads)
