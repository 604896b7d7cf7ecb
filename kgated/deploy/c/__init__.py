"""A streaming file as C99 sources that need no runtime."""

from kgated.deploy.c.render import MARK, check_operators, source_paths, sources

__all__ = ["MARK", "check_operators", "source_paths", "sources"]
