"""The commands `generate`, `encode` and `decode`."""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from kgated_edge.cli.arguments import count, from_zero
from kgated_edge.errors import EdgeError
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.format.vocabulary import Vocabulary
from kgated_edge.runtime.stream_model import EdgeModel
from kgated_edge.text.codec import decode, encode
from kgated_edge.text.generation import generate


def add_generate(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `generate`."""
    add = parser.add_argument
    add("--prompt", required=True, metavar="TEXT", help="the text to continue")
    add("--max-tokens", type=count(0), default=200, metavar="N", help="tokens to write (200)")
    add(
        "--temperature",
        type=from_zero,
        default=1.0,
        metavar="T",
        help="below 1 safer, above 1 bolder, 0: always the likeliest (1)",
    )
    add("--top-k", type=count(1), metavar="K", help="draw among the K likeliest tokens (all)")
    add("--stop", action="append", metavar="TOKEN", help="end there; may be given again")
    add("--seed", type=count(0), metavar="S", help="of the draws; else another text each time")


def add_encode(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `encode`."""
    parser.add_argument("text", nargs="*", metavar="TEXT", help="else the lines of stdin")


def add_decode(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `decode`."""
    parser.add_argument("ids", nargs="+", type=count(0), metavar="ID", help="ids of tokens")


def run_generate(options: argparse.Namespace) -> dict[str, Any]:
    """Prints the tokens as they come; the result for `--json`."""
    vocabulary = _vocabulary(options.model)
    model = EdgeModel(options.model, options.threads, engine=options.engine)
    tokens = generate(
        model,
        _prompt(vocabulary, options.prompt),
        options.max_tokens,
        options.temperature,
        options.top_k,
        options.stop,
        options.seed,
    )
    written = list(_printed(tokens, "" if vocabulary.split == "character" else " "))
    return {"prompt": options.prompt, "tokens": written, "seed": options.seed}


def run_encode(options: argparse.Namespace) -> dict[str, Any]:
    """Prints the ids of each text in a line; the result for `--json`."""
    vocabulary = _vocabulary(options.model)
    texts = options.text or [line.rstrip("\n") for line in sys.stdin]
    rows = [encode(vocabulary, _prompt(vocabulary, text)).tolist() for text in texts]
    for row in rows:
        print(*row)
    return {"texts": texts, "ids": rows}


def run_decode(options: argparse.Namespace) -> dict[str, Any]:
    """Prints the text of ids; the result for `--json`."""
    text = decode(_vocabulary(options.model), options.ids)
    print(text)
    return {"ids": options.ids, "text": text}


def _vocabulary(path: ModelPath) -> Vocabulary:
    manifest = read_manifest(path)
    if not any(spec.is_token for spec in manifest.frames):
        raise EdgeError(f"{path}: the model takes no text, its frames are numbers: use `live`")
    vocabulary = manifest.vocabulary
    if vocabulary is None:
        raise EdgeError(
            f"{path}: the file has no vocabulary, or several: convert the model with --vocabulary"
        )
    return vocabulary


def _prompt(vocabulary: Vocabulary, text: str) -> Any:
    """The text, or its words where the vocabulary takes tokens that are split already."""
    if vocabulary.split != "given":
        return text
    try:
        return [int(word) for word in text.split()] if vocabulary.has_integers else text.split()
    except ValueError:
        raise EdgeError(f"this model takes whole numbers, got {text!r}") from None


def _printed(tokens: Iterator[str], between: str) -> Iterator[str]:
    for number, token in enumerate(tokens):
        print(between if number else "", token, sep="", end="", flush=True)
        yield token
    print()
