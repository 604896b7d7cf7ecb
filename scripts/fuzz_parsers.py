"""Coverage-guided fuzzing of every parser that sees foreign bytes, with Atheris.

    python scripts/fuzz_parsers.py                          # each target for 15 s, as the checks do
    python scripts/fuzz_parsers.py wav csv --seconds 3600   # by hand
    python scripts/fuzz_parsers.py --keep                   # and add what reached new code

A target may return or raise an `EdgeError`. Any other exception, an input that takes 5 s, and a
process beyond 1 GiB are findings: the command prints them, keeps the input in `--findings`, and
ends with code 1. It starts from the corpus in tests/edge/fuzz_corpus and a few valid inputs.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "edge" / "fixtures"
CORPUS = ROOT / "tests" / "edge" / "fuzz_corpus"
NAMES = ("manifest", "container", "signature", "verifier", "state", "wav", "csv")
MAX_BYTES, INPUT_SECONDS, MEMORY_MIB = 8192, 5, 1024
CORPUS_FILES, CORPUS_BYTES = 40, 5000


@dataclass(frozen=True)
class Outcome:
    """What the fuzzer did with a target.

    Attributes:
        target: its name.
        executions: inputs tried.
        edges: edges of the parser's bytecode that were reached.
        finding: what went wrong, or an empty text.
    """

    target: str
    executions: int
    edges: int
    finding: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 1 after a finding."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"targets: {', '.join(NAMES)} (all)"
    )
    parser.add_argument("--seconds", type=int, default=15, help="seconds per target (15)")
    parser.add_argument(
        "--findings", type=Path, default=Path("findings"), help="folder for the findings (findings)"
    )
    parser.add_argument(
        "--keep", action="store_true", help="add new inputs to the corpus in the repository"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the fuzzer (1)")
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"no target {sorted(unknown)}: choose among {NAMES}")
    targets = options.targets or NAMES
    failed = False
    for target in targets:
        result = fuzz(target, options.seconds, options.findings, options.keep, options.seed)
        print(text_of(result), flush=True)
        failed |= bool(result.finding)
    print("FAIL" if failed else "PASS")
    return int(failed)


def fuzz(target: str, seconds: int, findings: Path, keep: bool = False, seed: int = 1) -> Outcome:
    """Fuzz a target in a process of its own."""
    findings.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        grown, start = Path(folder, "grown"), CORPUS / target
        grown.mkdir()
        start.mkdir(parents=True, exist_ok=True)
        limits = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-seed={seed}"]
        run = _run(target, [*limits, str(grown), str(start)], findings)
        if keep and not run.returncode:
            keep_inputs(grown, start)
    return outcome_of(target, run.returncode, run.stdout)


def outcome_of(target: str, code: int, log: str) -> Outcome:
    """The outcome that a fuzzer's log tells."""
    executions = re.search(r"number_of_executed_units: (\d+)", log)
    edges = re.findall(r"cov: (\d+)", log)
    finding = "" if code == 0 else _finding(log) or f"exit {code}"
    count = int(executions[1]) if executions else 0
    return Outcome(target, count, int(edges[-1]) if edges else 0, finding)


def text_of(outcome: Outcome) -> str:
    """A line about a target."""
    counts = f"{outcome.executions:>9} executions, {outcome.edges:>5} edges"
    return f"{outcome.target:<10} {counts}  {outcome.finding}".rstrip()


def work(target: str, arguments: Sequence[str]) -> None:
    """The process of the fuzzer; it does not return."""
    import atheris

    with atheris.instrument_imports(include=["kgated_edge"], enable_loader_override=False):
        from robust.targets import TARGETS, seeds
    from kgated_edge.errors import EdgeError

    run = TARGETS[target]
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with TemporaryDirectory(dir=memory) as folder:
        scratch = Path(folder, "input")
        for number, content in enumerate(seeds(target, FIXTURES, scratch)):
            Path(arguments[-2], f"seed{number}").write_bytes(content)

        def accept(content: bytes) -> None:
            try:
                run(content, scratch)
            except EdgeError:
                return

        atheris.Setup([sys.argv[0], *arguments], accept)
        atheris.Fuzz()


def _run(
    target: str, arguments: Sequence[str], findings: Path
) -> "subprocess.CompletedProcess[str]":
    limits = [f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}", "-print_final_stats=1"]
    places = [f"-artifact_prefix={findings}/{target}."]
    worker = [sys.executable, __file__, "--worker", target, *limits, *places, *arguments]
    # libFuzzer reads the peak memory of the process, which Linux hands down from the process that
    # starts it. A shell in between is small, and this process may hold TensorFlow.
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *worker]
    pipe = subprocess.PIPE  # Atheris reports to stdout, libFuzzer to stderr
    return subprocess.run(
        command, stdout=pipe, stderr=subprocess.STDOUT, text=True, errors="replace"
    )


def keep_inputs(grown: Path, start: Path) -> None:
    """Add inputs that reached new edges, from the whole run, up to `CORPUS_FILES` in the corpus."""
    inputs = [path for path in grown.iterdir() if 0 < path.stat().st_size <= CORPUS_BYTES]
    inputs.sort(key=lambda path: (path.stat().st_mtime_ns, path.name))
    room = max(0, CORPUS_FILES - len(list(start.iterdir())))
    for number in range(min(room, len(inputs))):
        path = inputs[number * len(inputs) // min(room, len(inputs))]
        shutil.copyfile(path, start / path.name)


def _finding(log: str) -> str:
    lines = [line.strip() for line in log.splitlines()]
    marked = ("Uncaught Python exception", "ERROR: libFuzzer")
    places = [n for n, line in enumerate(lines) if any(mark in line for mark in marked)]
    return " ".join(lines[places[0] : places[0] + 2])[:300] if places else ""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], sys.argv[3:])
    sys.exit(main())
