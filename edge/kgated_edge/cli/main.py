"""The command `kgated-edge`.

Exit codes: 0 passed, 1 a limit was missed, 2 bad input or arguments (one line on stderr), 130
interrupted, 141 the reader of a pipe has ended.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kgated_edge.cli import native_commands, text_commands
from kgated_edge.cli.arguments import above_zero, add_pool_and_limits, count, fraction, from_zero
from kgated_edge.cli.closed_pipe import CLOSED_PIPE, discard_output, flushed_output, write_error
from kgated_edge.cli.event_check import add_event_check, refuse_event_options, run_event_check
from kgated_edge.cli.event_text import event_check_text, events_text
from kgated_edge.cli.events import add_events, run_events
from kgated_edge.cli.live import add_live, run_live
from kgated_edge.cli.output import reserve_output, save_steps
from kgated_edge.cli.parser import CommandParser, Parser
from kgated_edge.cli.realtime import add_realtime_arguments, plan_of
from kgated_edge.cli.sandbox import run_in_sandbox
from kgated_edge.cli.signals import ended_by_signals
from kgated_edge.cli.signature import add_signature, add_verify, open_signed, signature_arguments
from kgated_edge.cli.text import check_text, live_text, realtime_text, selftest_text
from kgated_edge.errors import EdgeError, readable
from kgated_edge.evaluation.checker import check, selftest
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.task_choice import OLD_NAMES, TASKS
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.verified_file import size_of
from kgated_edge.ingest.runner import INTERRUPTED
from kgated_edge.ingest.wav_folder import load_wav_folder
from kgated_edge.loadtest.runner import realtime
from kgated_edge.measure.device import this_device

_PROGRAM = "kgated-edge"
_OUT_OF_MEMORY = "out of memory: use smaller data"
# What Python raises in place of MemoryError: for a lock in an import, for a path.
_NO_MEMORY = ("can't allocate", "not PosixPath")
_COMMANDS = "{check,selftest,realtime,live,events,generate,encode,decode,build,verify}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, or those of the process.

    Returns:
        the exit code.
    """
    try:
        with flushed_output():
            options = _parser().parse_args(arguments)
            open_signed(options)
            passed: bool = options.run(options)
        return 0 if passed else 1
    except BrokenPipeError:
        discard_output()
        return CLOSED_PIPE
    except EdgeError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(readable(error))
    except (MemoryError, SystemError):  # the second from extensions, with no error set
        return _fail(_OUT_OF_MEMORY)
    except (RuntimeError, TypeError) as error:
        if not any(words in str(error) for words in _NO_MEMORY):
            raise
        return _fail(_OUT_OF_MEMORY)
    except PackageNotFoundError:
        return _fail("the package's version cannot be read: install kgated-edge again")
    except KeyboardInterrupt:
        return 130


def _fail(message: str) -> int:
    write_error(f"{_PROGRAM}: error: {' '.join(message.splitlines())}")
    return 2


def _parser() -> Parser:
    parser = Parser(
        prog=_PROGRAM, description="Runs kgated models on this device and measures them."
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {version(_PROGRAM)}")
    commands = parser.add_subparsers(required=True, metavar=_COMMANDS, parser_class=CommandParser)
    _add_check(commands)
    _add_selftest(commands)
    _add_realtime(commands)
    add_live(_command(commands, "live", _run_live, "run on frames as they come, out of a pipe"))
    add_events(_command(commands, "events", _run_events, "report events in frames as they come"))
    text_commands.add_generate(
        _command(commands, "generate", _run_text, "continue a text by a language model")
    )
    text_commands.add_encode(_command(commands, "encode", _run_text, "print the ids of texts"))
    text_commands.add_decode(_command(commands, "decode", _run_text, "print the text of ids"))
    native_commands.add_build(commands)
    add_verify(commands)
    return parser


def _add_check(commands: Any) -> None:
    parser = _command(commands, "check", _run_check, "measure speed and accuracy over a data set")
    parser.add_argument(
        "--data",
        required=True,
        metavar="TEST.npz",
        help="sequences to run, or a folder of WAV files, one folder per class",
    )
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
    parser.add_argument(
        "--max-mae",
        type=from_zero,
        metavar="E",
        help="largest mean absolute error, in units of the targets",
    )
    parser.add_argument(
        "--max-rmse",
        type=from_zero,
        metavar="E",
        help="largest root of the mean squared error, in units of the targets",
    )
    parser.add_argument(
        "--task",
        choices=(*TASKS, *OLD_NAMES),
        metavar="TASK",
        help=f"how outputs are scored: {', '.join(TASKS)} (by `y` and the model)",
    )
    add_pool_and_limits(parser)
    add_event_check(parser)


def _add_selftest(commands: Any) -> None:
    summary = "replay the golden frames in the model file"
    parser = _command(commands, "selftest", _run_selftest, summary)
    parser.add_argument(
        "--isolated", action="store_true", help="first in a separate process, which may crash"
    )


def _add_realtime(commands: Any) -> None:
    summary = "run on frames that arrive on a schedule, each with a deadline"
    parser = _command(commands, "realtime", _run_realtime, summary)
    add_realtime_arguments(parser)


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], bool], summary: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run, command=name)
    parser.add_argument("model", metavar="MODEL.tflite", help="made by `kgated convert`")
    parser.add_argument(
        "--threads", type=count(1), default=1, metavar="N", help="threads of the interpreter (1)"
    )
    if name not in ("encode", "decode"):
        native_commands.add_engine(parser)
    parser.add_argument("--json", metavar="OUT", help="write the result to this file")
    add_signature(parser)
    return parser


def _run_check(options: argparse.Namespace) -> bool:
    if options.events is not None:
        return _run_event_check(options)
    refuse_event_options(options)
    inputs = (options.model, options.data, *([options.limits] if options.limits else ()))
    with reserve_output(options.json, inputs) as write:
        result = check(
            options.model,
            _sequences(options),
            task=options.task,
            limits=options.limits,
            deadline_ms=options.deadline_ms,
            min_accuracy=options.min_accuracy,
            max_misses=options.max_misses,
            max_mae=options.max_mae,
            max_rmse=options.max_rmse,
            num_threads=options.threads,
            pool=options.pool,
            engine=options.engine,
        )
        write(_with_context(options, data=options.data) | asdict(result))
    print(check_text(options.model, result))
    return result.passed


def _run_event_check(options: argparse.Namespace) -> bool:
    inputs = (options.model, options.events, *([options.limits] if options.limits else ()))
    with reserve_output(options.json, inputs) as write:
        result = run_event_check(options)
        write(_with_context(options, data=options.data, events=options.events) | asdict(result))
    print(event_check_text(options.model, result))
    return result.passed


def _sequences(options: argparse.Namespace) -> str | SequenceData:
    """The data set's path, or the sequences of a folder of WAV files."""
    data: str = options.data
    if not Path(data).is_dir() or next(Path(data).rglob("*.[wW][aA][vV]"), None) is None:
        return data
    return load_wav_folder(data, read_manifest(options.model))


def _run_selftest(options: argparse.Namespace) -> bool:
    with reserve_output(options.json, (options.model,)) as write:
        if options.isolated:
            arguments = ["--engine", options.engine, *signature_arguments(options)]
            run_in_sandbox(options.model, options.threads, arguments)
        result = selftest(options.model, options.threads, options.engine)
        write(_with_context(options) | asdict(result))
    print(selftest_text(options.model, result))
    return result.passed


def _run_realtime(options: argparse.Namespace) -> bool:
    plan = plan_of(options)
    inputs, every = (options.model, options.data), options.every_step
    if every is not None and options.json and Path(every).resolve() == Path(options.json).resolve():
        raise EdgeError("--json and --every-step name the same file: name two")
    with ended_by_signals():
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
    return _run_stream(options, run_live, live_text)


def _run_events(options: argparse.Namespace) -> bool:
    return _run_stream(options, run_events, events_text)


def _run_stream(
    options: argparse.Namespace, run: Callable[..., Any], text_of: Callable[..., str]
) -> bool:
    with ended_by_signals():
        with reserve_output(options.json, (options.model, options.input)) as write:
            result = run(options)
            write(_with_context(options, input=options.input) | asdict(result))
        # Results go to standard output, for the next command of a pipe.
        print(text_of(options.model, result), file=sys.stderr, flush=True)
    if result.ended == INTERRUPTED:
        raise KeyboardInterrupt
    if result.error is not None:
        raise EdgeError(result.error)
    return True


def _run_text(options: argparse.Namespace) -> bool:
    runs = {
        "generate": text_commands.run_generate,
        "encode": text_commands.run_encode,
        "decode": text_commands.run_decode,
    }
    with reserve_output(options.json, (options.model,)) as write:
        write(_with_context(options) | runs[options.command](options))
    return True


def _with_context(options: argparse.Namespace, **more: str) -> dict[str, Any]:
    about = {"kgated_edge": version(_PROGRAM), "command": options.command}
    where = {"device": asdict(this_device()), "time": datetime.now(UTC).isoformat("T", "seconds")}
    model = {"model": str(options.model), "model_bytes": size_of(options.model)}
    return {**about, **model, **more, **where}
