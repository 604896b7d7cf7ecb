"""The parser of the command line."""

import argparse
from typing import Any, NoReturn

from kgated_edge.errors import EdgeError


class Parser(argparse.ArgumentParser):
    """Reports wrong arguments in one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raises `EdgeError` in place of an exit."""
        raise EdgeError(f"{message}: see {self.prog} --help")


class CommandParser(Parser):
    """The parser of one command, which takes options and arguments in any order.

    argparse takes an optional argument, such as INPUT, only directly behind the others.
    """

    _is_intermixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parses again where arguments stand behind options."""
        parsed = super().parse_known_args(args, namespace)
        if not parsed[1] or self._is_intermixed:
            return parsed
        self._is_intermixed = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_intermixed = False
