"""The command `kgated-edge`.

Exit codes: 0 passed, 1 a limit was missed, 2 bad input or arguments (one line on stderr), 130
interrupted.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, NoReturn

from kgated_edge.check import check, selftest
from kgated_edge.errors import EdgeError
from kgated_edge.output import claimed
from kgated_edge.text import check_text, selftest_text

_PROGRAM = "kgated-edge"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with the arguments given, or those of the process.

    Returns:
        the exit code.
    """
    try:
        options = _parser().parse_args(arguments)
        passed: bool = options.run(options)
        sys.stdout.flush()
        return 0 if passed else 1
    except (EdgeError, OSError) as error:
        return _fail(str(error))
    except MemoryError:
        return _fail("out of memory: use smaller data")
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise EdgeError(f"{message}: see {self.prog} --help")


def _fail(message: str) -> int:
    print(f"{_PROGRAM}: error: {' '.join(message.splitlines())}", file=sys.stderr)
    return 2


def _parser() -> _Parser:
    parser = _Parser(
        prog=_PROGRAM, description="Runs kgated models on this device and measures them."
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {version(_PROGRAM)}")
    commands = parser.add_subparsers(required=True, metavar="{check,selftest}")
    _add_check(commands)
    _add_selftest(commands)
    return parser


def _add_check(commands: Any) -> None:
    parser = _command(commands, "check", _run_check, "measure speed and accuracy over a data set")
    parser.add_argument("--data", required=True, metavar="TEST.npz", help="sequences to run")
    parser.add_argument(
        "--deadline-ms", type=_above_zero, metavar="MS", help="the longest that a step may take"
    )
    parser.add_argument(
        "--min-accuracy", type=_share, metavar="A", help="least share of right decisions, 0..1"
    )
    parser.add_argument(
        "--max-misses", type=_count(0), default=0, metavar="N", help="deadlines allowed to miss"
    )


def _add_selftest(commands: Any) -> None:
    _command(commands, "selftest", _run_selftest, "replay the golden frames in the model file")


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], bool], summary: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL.tflite", help="made by `kgated convert`")
    parser.add_argument(
        "--threads", type=_count(1), default=1, metavar="N", help="threads of the interpreter"
    )
    parser.add_argument("--json", metavar="OUT", help="write the result to this file")
    return parser


def _run_check(options: argparse.Namespace) -> bool:
    with claimed(options.json, (options.model, options.data)) as write:
        result = check(
            options.model,
            options.data,
            deadline_ms=options.deadline_ms,
            min_accuracy=options.min_accuracy,
            max_misses=options.max_misses,
            num_threads=options.threads,
        )
        write(_labelled(options, data=options.data) | asdict(result))
    print(check_text(options.model, result))
    return result.passed


def _run_selftest(options: argparse.Namespace) -> bool:
    with claimed(options.json, (options.model,)) as write:
        result = selftest(options.model, options.threads)
        write(_labelled(options) | asdict(result))
    print(selftest_text(options.model, result))
    return result.passed


def _labelled(options: argparse.Namespace, **more: str) -> dict[str, Any]:
    return {"kgated_edge": version(_PROGRAM), "model": options.model, **more}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def _above_zero(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be in 0..1, got {text}")
    return value


def _count(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= 1_000_000_000:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least}, got {text!r}")
        return int(text)

    return count
