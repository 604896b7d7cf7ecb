"""`kgated-edge build`."""

import argparse
from typing import Any

from kgated_edge.native.compiler import build


def add_build(commands: Any) -> None:
    """Adds the command."""
    summary = "compile the C sources of a model for this device, beside them"
    parser: argparse.ArgumentParser = commands.add_parser(
        "build", help=summary, description=summary
    )
    parser.set_defaults(run=_run_build)
    parser.add_argument("source", metavar="MODEL.c", help="made by `kgated convert --target c`")
    parser.add_argument("--compiler", metavar="CC", help="its name or path (CC, cc, gcc or clang)")


def _run_build(options: argparse.Namespace) -> bool:
    library = build(options.source, options.compiler)
    print(f'{library}: passed the self-test; use it by engine="native"')
    return True
