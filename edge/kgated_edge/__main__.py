"""`python -m kgated_edge` is the command `kgated-edge`."""

import sys

from kgated_edge.cli import main

sys.exit(main())
