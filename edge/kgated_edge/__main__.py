"""`python -m kgated_edge` is the command `kgated-edge`."""

import sys

from kgated_edge.cli.main import main

sys.exit(main())
