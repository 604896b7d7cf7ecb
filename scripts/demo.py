"""Train, convert and check on real speech: the same as `kgated demo`."""

import sys

from kgated_cli import main

sys.argv.insert(1, "demo")
main()
