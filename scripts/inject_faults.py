"""Fill the disk, or fail an allocation, at every place of `check`, `events` and `convert`.

    python scripts/inject_faults.py                       # every write, 400 allocations each
    python scripts/inject_faults.py --allocations 20000 --seed 1 --only events    # by hand

Each run must end with code 0 or with one clear line, and must leave the result file, the state
file and the converted files as they were or whole, and nothing else in the folder.
"""

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from kgated_edge.cli.main import main as edge
from robust.conversion import prepared as prepared_conversion
from robust.faults import Fault, full_disk, no_memory, run

FIXTURES = Path(__file__).parents[1] / "tests" / "edge" / "fixtures"
EVENTS = FIXTURES / "archive" / "0.2.0.dev0" / "events.tflite"
COMMANDS = ("check", "events", "convert")
BEFORE = b"{}\n"
_NEVER = 1 << 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 1 if a guarantee was violated."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--allocations",
        type=int,
        default=400,
        help="number of failed allocations per command (400)",
    )
    parser.add_argument("--seed", type=int, help="fail at random places with this seed (even ones)")
    parser.add_argument("--only", choices=COMMANDS, help="the only command to run (all)")
    options = parser.parse_args(arguments)
    failures = []
    for name in [options.only] if options.only else COMMANDS:
        with TemporaryDirectory() as folder:
            for kind, outcomes in inject(name, Path(folder), options.allocations, options.seed):
                violations = [text for text in outcomes if text not in ("refused", "ran")]
                print(f"{name:<7} {kind} {_counts(outcomes)}", flush=True)
                failures += violations
    print("\n".join([*sorted(set(failures))[:40], "FAIL" if failures else "PASS"]))
    return 1 if failures else 0


def inject(
    name: str, folder: Path, allocations: int, seed: int | None = None
) -> Iterator[tuple[str, Counter[str]]]:
    """The outcomes of a command, of each kind of fault."""
    command = prepared(name, folder)
    complete = run(command, full_disk(_NEVER))
    assert complete.code == 0, complete.error
    writes = range(1, complete.operations + 1)
    yield "full disk", Counter(outcome(command, folder, full_disk(n)) for n in writes)
    total = count_allocations(command)
    if seed is None:
        numbers = np.unique(np.linspace(1, total, allocations).astype(int)).tolist()
    else:
        numbers = np.random.default_rng(seed).integers(1, total + 1, allocations).tolist()
    outcomes = Counter(outcome(command, folder, no_memory(n)) for n in numbers)
    yield f"no memory, of {total} allocations", outcomes


def prepared(name: str, folder: Path) -> Callable[[], int]:
    """The command, with its inputs in `folder`/in and its outputs in `folder`/out.

    A conversion's older and newer files are in `folder`/in/before and `folder`/in/after.
    """
    inputs, outputs = folder / "in", folder / "out"
    inputs.mkdir()
    outputs.mkdir()
    if name == "convert":
        return prepared_conversion(inputs, outputs)
    rng = np.random.default_rng(3)
    frames = rng.normal(size=(2, 5, 3)).astype(np.float32)
    np.savez(inputs / "data.npz", x=frames, y=np.array([0, 1]))
    np.savetxt(inputs / "frames.csv", frames.reshape(-1, 3), delimiter=",")
    result = ["--json", str(outputs / "result.json")]
    if name == "check":
        words = [str(FIXTURES / "speech.tflite"), "--data", str(inputs / "data.npz"), *result]
    else:
        state = ["--state", str(outputs / "events.state")]
        words = [str(EVENTS), str(inputs / "frames.csv"), *state, *result]
    return lambda: edge([name, *words])


def outcome(command: Callable[[], int], folder: Path, fault: Fault) -> str:
    """How a run with a fault ended: "ran", "refused", or what is wrong."""
    outputs = folder / "out"
    for path in outputs.iterdir():
        path.unlink()
    (outputs / "result.json").write_bytes(BEFORE)
    if (before := folder / "in" / "before").is_dir():
        shutil.copytree(before, outputs, dirs_exist_ok=True)
    ended = run(command, fault)
    return ended.violation() or damage(outputs) or ("refused" if ended.code else "ran")


def damage(outputs: Path) -> str:
    """What is half-written, or left behind; an empty text for nothing."""
    names = {path.name for path in outputs.iterdir()}
    converted = versions(outputs.parent / "in")
    if extra := names - {"result.json", "events.state", *converted}:
        return f"left behind: {sorted(extra)}"
    for name, contents in converted.items():
        if name not in names or (outputs / name).read_bytes() not in contents:
            return f"half-written: {name}"
    try:
        json.loads((outputs / "result.json").read_bytes())
        if "events.state" in names:
            with np.load(outputs / "events.state") as archive:
                assert all(archive[name] is not None for name in archive.files)
    except (OSError, ValueError) as error:
        return f"half-written: {error}"
    return ""


def versions(inputs: Path) -> dict[str, list[bytes]]:
    """By name of a converted file what may be in it: that of before, and that of after."""
    folders = [inputs / "before", inputs / "after"]
    names = [path.name for path in inputs.glob("after/*")]
    return {name: [(folder / name).read_bytes() for folder in folders] for name in names}


def count_allocations(command: Callable[[], int]) -> int:
    """The number of allocations of a run: the smallest from which on all may fail.

    Where all fail, CPython 3.11 may never leave a `finally`: such a run is ended early.
    """
    low, high = 1, 1 << 24
    start = time.monotonic()
    run(command, no_memory(high, onwards=True))
    limit_s = 2 + int(10 * (time.monotonic() - start))
    while low < high:
        middle = (low + high) // 2
        if run(command, no_memory(middle, onwards=True), limit_s).code == 0:
            high = middle
        else:
            low = middle + 1
    return low


def _counts(outcomes: Counter[str]) -> str:
    refused, ran, total = outcomes["refused"], outcomes["ran"], outcomes.total()
    return f"{total} faults: {refused} refused, {ran} ran, {total - refused - ran} wrong"


if __name__ == "__main__":
    sys.exit(main())
