"""Step time of the runner of another checkout beside this one, in one run.

`python scripts/benchmark_versions.py ../before` makes the files with the other checkout, which both
runners load, starts a process per runner, and measures them in turns. Streaming files of each cell,
`dynamic`, are run by `EdgeModel.step` and by a `SessionPool` of 64 sessions.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks.models import CELLS, SIZES, model_of, to_file
from benchmarks.tables import Row, markdown
from benchmarks.timing import times_us

HERE = Path(__file__).parents[1]
SESSIONS = 64


def make_files(folder: Path) -> None:
    """Convert the models, with the package of this process."""
    for cell in CELLS:
        for features, units in SIZES:
            path = folder / f"{cell}-{units}.tflite"
            to_file(model_of(cell, features, units), path, "dynamic")


def serve(folder: Path) -> None:
    """Measure on each line of the input, and print the µs of each file by the way it is run."""
    import numpy as np
    from kgated_edge import EdgeModel, SessionPool

    runs: dict[str, Any] = {}
    for path in sorted(folder.glob("*.tflite")):
        model, pool = EdgeModel(path), SessionPool(path)
        shape = model.manifest.inputs[0].shape
        frame = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        sessions = [pool.open() for _ in range(SESSIONS)]
        runs[f"{path.stem} step"] = lambda model=model, frame=frame: model.step(frame)
        runs[f"{path.stem} pool"] = lambda sessions=sessions, frame=frame: [
            session.step(frame) for session in sessions
        ]
    for _ in sys.stdin:
        print(json.dumps(times_us(runs, 3, min)), flush=True)


class Runner:
    """A process that measures with the packages of a checkout.

    Args:
        checkout: its folder.
        folder: with the files to run.
    """

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.process = start(checkout, "serve", folder)

    def measure(self) -> dict[str, float]:
        """µs of each run, the fastest of a few turns."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the runner ended with {self.process.wait()}")
        times: dict[str, float] = json.loads(line)
        return times


def start(checkout: Path, function: str, folder: Path) -> "subprocess.Popen[str]":
    """A process that calls a function of this script with the packages of a checkout."""
    paths = [checkout, checkout / "edge", Path(__file__).parent]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    code = f"import sys, pathlib, benchmark_versions as b; b.{function}(pathlib.Path(sys.argv[1]))"
    command, pipe = [sys.executable, "-P", "-c", code, str(folder)], subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)


def rows_of(before: list[dict[str, float]], now: list[dict[str, float]]) -> list[Row]:
    """A row per file and way of running it: medians of the turns, and of their ratios."""
    rows = []
    for name in before[0]:
        file, how = name.split()
        pairs = [(a[name], b[name]) for a, b in zip(before, now, strict=True)]
        count = SESSIONS if how == "pool" else 1
        medians = [statistics.median(times) / count for times in zip(*pairs, strict=True)]
        ratio = statistics.median(b / a for a, b in pairs)
        rows.append({"file": file, "run by": how, "before_us": medians[0], "now_us": medians[1]})
        rows[-1]["now / before"] = ratio
    return rows


def main(
    checkout: Annotated[Path, typer.Argument(help="The folder of the other checkout.")],
    turns: Annotated[int, typer.Option(min=3, help="Turns of each runner.")] = 40,
) -> None:
    """Measure both runners in turns, and print the table; a pool's µs are per session."""
    if not (checkout / "edge" / "kgated_edge").is_dir():
        raise typer.BadParameter(f"{checkout} holds no edge/kgated_edge")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if start(checkout.resolve(), "make_files", folder).wait() != 0:
            raise RuntimeError("the other checkout could not make the files")
        runners = [Runner(path.resolve(), folder) for path in (checkout, HERE)]
        times: list[list[dict[str, float]]] = [[], []]
        for turn in range(turns):
            order = (0, 1) if turn % 2 == 0 else (1, 0)
            for n in order:
                times[n].append(runners[n].measure())
        for runner in runners:
            runner.process.communicate()
    print(markdown(rows_of(*times), f"Medians of {turns} turns"))


if __name__ == "__main__":
    typer.run(main)
