"""Sessions over two processes get what those of one process get."""

import numpy as np
import pytest
from kgated_edge import EdgeError, FrameError, SessionPool, WorkerPool

N = 7


def test_two_processes_are_one_pool(fixture_file, rng):
    path = fixture_file("int8")
    frames = rng.normal(size=(4, N, 3)).astype(np.float32)
    pool = SessionPool(path)
    sessions = [pool.open() for _ in range(N)]
    expected = [pool.step(sessions, rows) for rows in frames]
    with WorkerPool(path, sessions=N, workers=2) as workers:
        results = [workers.step(rows) for rows in frames]
        workers.reset()
        again = workers.step(frames[0])
        with pytest.raises(EdgeError, match=r"shape \(7, 3\), got \(6, 3\)"):
            workers.step(frames[0, :6])
        bad = frames[0].copy()
        bad[5, 1] = np.nan
        with pytest.raises(FrameError, match="frame 5: a frame must be finite"):
            workers.step(bad)
    assert np.array_equal(results, expected)
    assert np.array_equal(again, expected[0])
    with pytest.raises(EdgeError, match="closed"):
        workers.step(frames[0])


@pytest.mark.parametrize("numbers", [(0, 1), (4, 0), (4, 5), (2.0, 1)])
def test_numbers_out_of_range(speech, numbers):
    with pytest.raises(EdgeError, match=r"`(sessions|workers)` must"):
        WorkerPool(speech, *numbers)


def test_sessions_whose_state_is_not_finite_are_reset(speech, rng):
    frames = rng.normal(size=(5, 3)).astype(np.float32)
    bad = frames.copy()
    bad[[1, 4]] = 1e30
    with WorkerPool(speech, sessions=5, workers=2) as workers:
        workers.step(bad)
        assert workers.reset_not_finite() == [1, 4]
        assert workers.reset_not_finite() == []
        assert np.isfinite(workers.step(frames)).all()
