"""`kgated-edge build`, and `--engine` of the commands that run a model."""

import argparse
from typing import Any

from kgated_edge.native.compiler import build
from kgated_edge.runtime.engines import ENGINES, LITERT


def add_build(commands: Any) -> None:
    """Adds the command."""
    summary = "compile the C sources of a model for this device, beside them"
    parser: argparse.ArgumentParser = commands.add_parser(
        "build", help=summary, description=summary
    )
    parser.set_defaults(run=_run_build)
    parser.add_argument("source", metavar="MODEL.c", help="made by `kgated convert --target c`")
    parser.add_argument("--compiler", metavar="CC", help="its name or path (CC, cc, gcc or clang)")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Adds the choice of what runs the model."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=LITERT,
        help="litert, or native: the library of `kgated-edge build` (litert)",
    )


def _run_build(options: argparse.Namespace) -> bool:
    library = build(options.source, options.compiler)
    print(f'{library}: passed the self-test; use it by engine="native", or --engine native')
    return True
