"""The worker of the coverage table: converts one row by one recipe at a time."""

from benchmarks.coverage.outcome import outcome
from benchmarks.worker_pool import Job, serve


def _answer(job: Job) -> Job:
    return {**job, **outcome(job["row"], job["mode"], job["recipe"])}


if __name__ == "__main__":
    serve(_answer)
