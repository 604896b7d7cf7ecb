"""`kgated-edge verify`, and `--require-key` of the commands that open a model."""

import argparse
from typing import Any

from kgated_edge.signing.check import opened, require_signature


def add_signature(parser: argparse.ArgumentParser) -> None:
    """Adds the options that refuse an unsigned file."""
    parser.add_argument(
        "--require-key", metavar="PUB", help="refuse a file that this Ed25519 key has not signed"
    )
    _add_version_file(parser, "record its version here, and refuse older ones")


def add_verify(commands: Any) -> None:
    """Adds the command `verify`."""
    summary = "check who has signed a model file, without running it"
    parser: argparse.ArgumentParser = commands.add_parser(
        "verify", help=summary, description=summary
    )
    parser.set_defaults(run=_run_verify)
    parser.add_argument("model", metavar="MODEL.tflite", help="signed by `kgated sign`")
    parser.add_argument("--key", required=True, metavar="PUB", help="the public key, in PEM")
    _add_version_file(parser, "refuse versions older than in this file, which stays as it is")


def open_signed(options: argparse.Namespace) -> None:
    """Puts the verified bytes in place of the model's path, where a key is required.

    Raises:
        EdgeError: as from `require_signature`.
    """
    if "require_key" in options:
        options.model = opened(options.model, options.require_key, options.version_file)


def signature_arguments(options: argparse.Namespace) -> list[str]:
    """The same options, for another process."""
    pairs = (("--require-key", options.require_key), ("--version-file", options.version_file))
    return [word for name, value in pairs if value is not None for word in (name, value)]


def _run_verify(options: argparse.Namespace) -> bool:
    file = require_signature(options.model, options.key, options.version_file, record=False)
    print(f"{file}: signed by {file.signing.key}")
    name = file.signing.name if file.signing.name.isprintable() else repr(file.signing.name)
    print(f"model {name}, version {file.signing.version}")
    print("PASS")
    return True


def _add_version_file(parser: argparse.ArgumentParser, summary: str) -> None:
    parser.add_argument("--version-file", metavar="FILE", help=summary)
