"""Python finds this first in a process of `test_lean`, and hides what a lean install lacks."""

import os
import sys
from importlib.abc import MetaPathFinder

HIDDEN = frozenset(os.environ["HIDDEN_MODULES"].split(","))


class Hider(MetaPathFinder):
    """Says of hidden modules what Python says where they are not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hider())
