"""Packages that only an extra brings, imported when they are needed."""

import importlib
from typing import Any

DEMO = ("jinja2", "matplotlib", "sklearn", "sktime")


def from_demo(module: str) -> Any:
    """A module of the extra `demo`, such as "sktime.datasets"; see `from_extra`."""
    return from_extra(module, "demo")


def from_extra(module: str, extra: str) -> Any:
    """A module that an extra brings.

    Raises:
        ImportError: it is not there; one line that says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{module} can\'t be imported ({error}): pip install "kgated[{extra}]"'
        ) from error


def require_report() -> None:
    """Import what the pages with interactive charts need, before the work for them begins.

    Raises:
        ImportError: see `from_extra`.
    """
    for module in ("jinja2", "plotly"):
        from_extra(module, "report")


def require_demo() -> None:
    """Import what the demo needs, before it begins.

    Raises:
        ImportError: see `from_extra`.
    """
    for module in DEMO:
        from_demo(module)
