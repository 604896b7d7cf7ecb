"""The self-test of a file: its golden frames, through every signature that steps."""

from collections.abc import Iterator, Mapping

import numpy as np

from kgated_edge.evaluation.results import SelftestResult
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.runtime.engines import LITERT
from kgated_edge.runtime.sequence_model import SequenceModel
from kgated_edge.runtime.session_golden import pool_golden_outputs
from kgated_edge.runtime.session_pool import SessionPool
from kgated_edge.runtime.stream_model import EdgeModel

_NATIVE_SESSIONS = (9,)  # a library takes 8 at once: a whole number of them, and one more


def replay_golden(model: EdgeModel | SequenceModel, path: ModelPath) -> SelftestResult:
    """Replays the golden frames and compares the outputs, those of sessions together, too.

    Args:
        model: runs the signature for one stream, or for sequences.
        path: its file.
    """
    golden, engine = model.manifest.golden, model.engine
    differences = list(_differences(golden.outputs, model.golden_outputs()))
    if counts := _sessions_together(model.manifest, engine):
        pool = SessionPool(path, engine=engine)
        for count in counts:
            differences += _differences(golden.outputs, pool_golden_outputs(pool, count))
    error = float(np.max(differences))  # NaN stays NaN, which then fails
    passed = bool(error <= golden.tolerance)
    failure = f"golden outputs differ by {error:.3g}, the tolerance is {golden.tolerance:.3g}"
    count = len(next(iter(golden.frames.values())))
    failures = () if passed else (failure,)
    return SelftestResult(count, error, golden.tolerance, passed, failures, engine)


def _sessions_together(manifest: Manifest, engine: str) -> tuple[int, ...]:
    """How many sessions step together in the self-test; empty where none can."""
    if engine == LITERT:
        return manifest.sessions
    is_pooled = manifest.mode == "stream" and manifest.state == "external" and manifest.batch == 1
    return _NATIVE_SESSIONS if is_pooled else ()


def _differences(expected: Mapping[str, Array], outputs: Mapping[str, Array]) -> Iterator[float]:
    for name, array in expected.items():
        yield float(np.abs(outputs[name].astype(np.float64) - array).max())
