"""Open thousands of damaged model files; each must run or end in one clear error.

    python scripts/fuzz_edge.py                     # 20,000 of tests/edge/fixtures
    python scripts/fuzz_edge.py --kinds graph fields    # only forged graphs
    python scripts/fuzz_edge.py MODEL.tflite --cases 1000

The kinds of damage are changed bytes, truncated files, and, with a recomputed digest, changed
manifests, changed bytes in graphs, and changed numbers in tensors and operators. Workers are
monitored: a worker that dies is a crash, one that is silent for 20 s a hang, and each has at most
3 GiB. All files must be refused or run, and the native interpreter must never read a file without a
valid digest. Forged graphs have a valid digest: the interpreter may refuse a graph that
`structure.py` accepts, even in a step.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kgated_edge import EdgeError, open_model, read_manifest
from kgated_edge.errors import ManifestError
from kgated_edge.runtime import interpreter as interpreters
from robust.damage import KINDS, damaged
from robust.watch import Report, answer, watch

FIXTURES = Path(__file__).parents[1] / "tests" / "edge" / "fixtures"
FORGED = ("graph", "fields")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 1 if a guarantee was violated."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "models", nargs="*", type=Path, help="model files (the fixtures of the tests)"
    )
    parser.add_argument(
        "--cases", type=int, default=20_000, help="total number of damaged files (20000)"
    )
    parser.add_argument("--workers", type=int, default=2, help="number of parallel processes (2)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (0)")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=KINDS, help="kinds of damage (all)"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    models = options.models or sorted(FIXTURES.glob("*.tflite"))
    if options.worker:
        work(models)
        return 0
    numbers = range(options.first, options.first + options.cases)
    reports = fuzz(models, numbers, options.workers, options.kinds)
    print(text_of(reports, options.kinds))
    return 1 if violations(reports) else 0


def fuzz(
    models: Sequence[Path],
    numbers: Sequence[int],
    workers: int = 1,
    kinds: Sequence[str] = KINDS,
) -> list[Report]:
    """Run the cases, equally many of each kind, with a worker and a report per kind."""
    command = [sys.executable, __file__, "--worker", *map(str, models)]
    shares = [[(n, kind) for n in numbers[k :: len(kinds)]] for k, kind in enumerate(kinds)]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda cases: watch(command, cases), shares))


def work(models: Sequence[Path]) -> None:
    """The worker: generate each case and open it."""
    contents, opened = [model.read_bytes() for model in models], list[bytes]()
    native: Any = vars(interpreters)["Interpreter"]

    def interpreter(model_content: bytes, num_threads: int) -> Any:
        opened.append(model_content)
        return native(model_content=model_content, num_threads=num_threads)

    vars(interpreters)["Interpreter"] = interpreter
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")

        def judge(number: int, kind: str) -> tuple[str, str]:
            content = contents[number // len(KINDS) % len(contents)]
            path.write_bytes(copy := damaged(content, kind, number))
            opened.clear()
            outcome = _open(path)
            if opened and kind in ("bytes", "cut") and copy != content:
                return "unverified", "the interpreter read a file with an invalid digest"
            return outcome

        answer(judge)


def _open(path: Path) -> tuple[str, str]:
    try:
        read_manifest(path)
        open_model(path).golden_outputs()
    except ManifestError as error:
        text = str(error)
        is_clear = text.startswith(f"{path}: ") and ": " in text[len(str(path)) + 2 :]
        return ("refused", "") if is_clear and "\n" not in text else ("unclear", text)
    except EdgeError as error:
        return "late", f"{type(error).__name__}: {error}"
    except MemoryError:
        return "memory", ""
    except BaseException as error:
        return "exception", f"{type(error).__name__}: {error}"
    return "ran", ""


def violations(reports: Sequence[Report]) -> list[str]:
    """The outcomes that violate a guarantee."""
    return [
        f"{kind}: {count} {outcome}"
        for report in reports
        for (kind, outcome), count in report.outcomes.items()
        if outcome not in ("refused", "ran") and not (outcome == "late" and kind in FORGED)
    ]


def text_of(reports: Sequence[Report], kinds: Sequence[str] = KINDS) -> str:
    """The report's text: a line per kind of damage, and the violations."""
    lines = []
    for kind, report in zip(kinds, reports, strict=True):
        counts = {outcome: count for (_, outcome), count in sorted(report.outcomes.items())}
        shown = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        lines.append(
            f"{kind:<9} {report.outcomes.total():>6}  {shown}; at most {report.peak_mib:.0f} MiB"
        )
    lines += [note for report in reports for note in report.notes]
    failures = violations(reports)
    return "\n".join([*lines, "FAIL: " + "; ".join(failures) if failures else "PASS"])


if __name__ == "__main__":
    sys.exit(main())
