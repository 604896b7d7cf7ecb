"""The command `kgated-edge`.

Exit codes: 0 passed, 1 a limit was missed, 2 bad input or arguments (one line on stderr), 130
interrupted.
"""

import argparse
import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

from kgated_edge.cli.arguments import above_zero, count, fraction, streams
from kgated_edge.cli.live import add_live, run_live
from kgated_edge.cli.output import reserve_output, save_steps
from kgated_edge.cli.sandbox import run_in_sandbox
from kgated_edge.cli.text import check_text, live_text, realtime_text, selftest_text
from kgated_edge.errors import EdgeError
from kgated_edge.evaluation.checker import check, selftest
from kgated_edge.evaluation.tasks import TASKS
from kgated_edge.loadtest.plan import Plan
from kgated_edge.loadtest.runner import realtime
from kgated_edge.measure.device import this_device

_PROGRAM = "kgated-edge"
_REPEAT_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, or those of the process.

    Returns:
        the exit code.
    """
    try:
        options = _parser().parse_args(arguments)
        passed: bool = options.run(options)
        # None where the shell closed it with `>&-`.
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0 if passed else 1
    except (EdgeError, OSError) as error:
        return _fail(str(error))
    except MemoryError:
        return _fail("out of memory: use smaller data")
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Reports wrong arguments in one line."""

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
    commands = parser.add_subparsers(required=True, metavar="{check,selftest,realtime,live}")
    _add_check(commands)
    _add_selftest(commands)
    _add_realtime(commands)
    add_live(_command(commands, "live", _run_live, "run on frames as they come, out of a pipe"))
    return parser


def _add_check(commands: Any) -> None:
    parser = _command(commands, "check", _run_check, "measure speed and accuracy over a data set")
    parser.add_argument("--data", required=True, metavar="TEST.npz", help="sequences to run")
    parser.add_argument(
        "--deadline-ms", type=above_zero, metavar="MS", help="longest time of a step"
    )
    parser.add_argument(
        "--min-accuracy",
        type=fraction,
        metavar="A",
        help="minimum fraction of correct decisions, 0..1",
    )
    parser.add_argument(
        "--max-misses", type=count(0), metavar="N", help="deadlines allowed to miss (0)"
    )
    parser.add_argument("--task", choices=TASKS, help="how outputs are scored (by `y`)")
    parser.add_argument("--limits", metavar="LIMITS.toml", help="a file of limits")


def _add_selftest(commands: Any) -> None:
    summary = "replay the golden frames in the model file"
    parser = _command(commands, "selftest", _run_selftest, summary)
    parser.add_argument(
        "--isolated", action="store_true", help="first in a separate process, which may crash"
    )


def _add_realtime(commands: Any) -> None:
    summary = "run on frames that arrive on a schedule, each with a deadline"
    parser = _command(commands, "realtime", _run_realtime, summary)
    add, integer = parser.add_argument, count(0)
    add("--data", required=True, metavar="X.npz", help="sequences, run as one repeating stream")
    add("--period-ms", type=above_zero, metavar="MS", help="between two arrivals (the model's)")
    add("--deadline-ms", type=above_zero, metavar="MS", help="from arrival to end (the period)")
    add("--seconds", type=above_zero, default=60.0, metavar="S", help="how long frames arrive (60)")
    add("--max-misses", type=integer, default=0, metavar="N", help="deadlines allowed to miss (0)")
    add("--streams", type=streams, default=1, metavar="N", help="models per period (1), or auto")
    add("--pool", action="store_true", help="streams as sessions of one interpreter")
    add("--load", type=integer, default=0, metavar="N", help="busy background processes (0)")
    add("--priority", type=count(1), metavar="P", help="real-time priority, 1 to 99")
    add("--cpu", type=integer, metavar="K", help="run on this CPU alone")
    add("--lock-memory", action="store_true", help="keep memory from being swapped out")
    add("--every-step", metavar="OUT.csv", help="write the times of each step to this file")
    add("--spin", action="store_true", help="poll the clock instead of sleeping; uses a whole CPU")


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], bool], summary: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run, command=name)
    parser.add_argument("model", metavar="MODEL.tflite", help="made by `kgated convert`")
    parser.add_argument(
        "--threads", type=count(1), default=1, metavar="N", help="threads of the interpreter (1)"
    )
    parser.add_argument("--json", metavar="OUT", help="write the result to this file")
    return parser


def _run_check(options: argparse.Namespace) -> bool:
    inputs = (options.model, options.data, *([options.limits] if options.limits else ()))
    with reserve_output(options.json, inputs) as write:
        result = check(
            options.model,
            options.data,
            task=options.task,
            limits=options.limits,
            deadline_ms=options.deadline_ms,
            min_accuracy=options.min_accuracy,
            max_misses=options.max_misses,
            num_threads=options.threads,
        )
        write(_with_context(options, data=options.data) | asdict(result))
    print(check_text(options.model, result))
    return result.passed


def _run_selftest(options: argparse.Namespace) -> bool:
    with reserve_output(options.json, (options.model,)) as write:
        if options.isolated:
            run_in_sandbox(options.model, options.threads)
        result = selftest(options.model, options.threads)
        write(_with_context(options) | asdict(result))
    print(selftest_text(options.model, result))
    return result.passed


def _run_realtime(options: argparse.Namespace) -> bool:
    plan = Plan(
        period_ms=options.period_ms,
        deadline_ms=options.deadline_ms,
        seconds=options.seconds,
        streams=options.streams,
        pool=options.pool,
        load=options.load,
        priority=options.priority,
        cpu=options.cpu,
        lock_memory=options.lock_memory,
        spin=options.spin,
        max_misses=options.max_misses,
        num_threads=options.threads,
    )
    inputs, every = (options.model, options.data), options.every_step
    if every is not None and options.json and Path(every).resolve() == Path(options.json).resolve():
        raise EdgeError("--json and --every-step name the same file: name two")
    with _ended_by_signals():
        with (
            reserve_output(options.json, inputs) as write,
            reserve_output(every, inputs, save_steps, "--every-step") as keep_record,
        ):
            result = realtime(options.model, options.data, plan, keep=keep_record)
            write(_with_context(options, data=options.data) | asdict(result))
        print(realtime_text(options.model, result), flush=True)
    if result.interrupted:
        raise KeyboardInterrupt
    return result.passed


def _run_live(options: argparse.Namespace) -> bool:
    with _ended_by_signals():
        with reserve_output(options.json, (options.model, options.input)) as write:
            result = run_live(options)
            write(_with_context(options, input=options.input) | asdict(result))
        # Results go to standard output, for the next command of a pipe.
        print(live_text(options.model, result), file=sys.stderr, flush=True)
    if result.ended == "interrupted":
        raise KeyboardInterrupt
    if result.error is not None:
        raise EdgeError(result.error)
    return True


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Handles SIGTERM as SIGINT, so that a run ends with a summary.

    A second signal within a second is ignored: `timeout` sends two, and the second would prevent
    the summary.
    """
    last = -math.inf

    def end(number: int, frame: Any) -> None:
        nonlocal last
        before, last = last, monotonic()
        if last - before > _REPEAT_S:
            raise KeyboardInterrupt

    # A background job of a script ignores SIGINT, and must go on doing so.
    kinds = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        kinds.append(signal.SIGINT)
    handlers = {kind: signal.signal(kind, end) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)


def _with_context(options: argparse.Namespace, **more: str) -> dict[str, Any]:
    about = {"kgated_edge": version(_PROGRAM), "command": options.command}
    where = {"device": asdict(this_device()), "time": datetime.now(UTC).isoformat("T", "seconds")}
    size = Path(options.model).stat().st_size
    return {**about, "model": options.model, "model_bytes": size, **more, **where}
