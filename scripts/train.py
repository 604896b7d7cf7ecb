"""Train a classifier of sequences: the same as `kgated train`."""

import sys

from kgated_cli import main

main(["train", *sys.argv[1:]])
