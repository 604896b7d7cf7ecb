"""Reads the docstrings of this project as mkdocstrings expects them."""

import re
from typing import Any

import griffe


class ProjectDocstrings(griffe.Extension):
    """Makes `Example:` a section of code, and `::` before a block a colon."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a loaded object."""
        if obj.docstring:
            text = re.sub(
                r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
            obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)
