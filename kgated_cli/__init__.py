"""The `kgated` command.

A package beside `kgated`, not in it: importing `kgated` imports Keras and its backend, which takes
seconds and logs to stderr, and `kgated --help` needs neither.
"""

from kgated_cli import (
    compare,
    convert,
    data,
    intervals,
    optimize,
    search,
    show,
    sign,
    train,
    tune,
    web,
)
from kgated_cli.app import main
from kgated_cli.models import load_model

__all__ = [
    "compare",
    "convert",
    "data",
    "intervals",
    "load_model",
    "main",
    "optimize",
    "search",
    "show",
    "sign",
    "train",
    "tune",
    "web",
]
