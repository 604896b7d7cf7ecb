"""Opens a model file of either mode."""

from pathlib import Path

from kgated_edge.format.reader import read_manifest
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.runtime.engines import LITERT
from kgated_edge.runtime.sequence_model import SequenceModel
from kgated_edge.runtime.stream_model import EdgeModel
from kgated_edge.signing.check import opened


def open_model(
    path: ModelPath,
    num_threads: int = 1,
    *,
    engine: str = LITERT,
    require_key: str | Path | None = None,
    version_file: str | Path | None = None,
) -> EdgeModel | SequenceModel:
    """Opens a model file with the class for its manifest's mode; arguments as of `EdgeModel`."""
    path = opened(path, require_key, version_file)
    runner = SequenceModel if read_manifest(path).mode == "sequence" else EdgeModel
    return runner(path, num_threads, engine=engine)
