"""Types of command-line arguments; each raises argparse's own error."""

import argparse
import math
from collections.abc import Callable


def number(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def above_zero(text: str) -> float:
    """A finite number above 0."""
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def from_zero(text: str) -> float:
    """A finite number from 0."""
    value = number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must not be below 0, got {text}")
    return value


def fraction(text: str) -> float:
    """A number in 0..1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be in 0..1, got {text}")
    return value


def samples_or_seconds(text: str) -> int | float:
    """A whole number of samples from 1, or with a point a number of seconds above 0."""
    return above_zero(text) if "." in text else count(1)(text)


def streams(text: str) -> int | None:
    """A whole number from 1, or "auto", which is None."""
    return None if text == "auto" else count(1)(text)


def count(minimum: int) -> Callable[[str], int]:
    """Makes the type of whole numbers from `minimum`."""

    def integer(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not minimum <= int(text) <= 1_000_000_000:
            raise argparse.ArgumentTypeError(f"must be a whole number from {minimum}, got {text!r}")
        return int(text)

    return integer


def add_pool_and_limits(parser: argparse.ArgumentParser) -> None:
    """Adds how `check` runs the sequences, and what it checks them against."""
    parser.add_argument("--limits", metavar="LIMITS.toml", help="a file of limits")
    parser.add_argument(
        "--pool", action="store_true", help="run sequences side by side, as sessions of a pool"
    )
