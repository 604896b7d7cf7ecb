"""Opens a model file of either mode."""

from pathlib import Path

from kgated_edge.format.reader import read_manifest
from kgated_edge.runtime.engines import LITERT
from kgated_edge.runtime.sequence_model import SequenceModel
from kgated_edge.runtime.stream_model import EdgeModel


def open_model(
    path: str | Path, num_threads: int = 1, *, engine: str = LITERT
) -> EdgeModel | SequenceModel:
    """Opens a model file with the class for its manifest's mode; raises as `EdgeModel`."""
    runner = SequenceModel if read_manifest(path).mode == "sequence" else EdgeModel
    return runner(path, num_threads, engine=engine)
