"""The reference of Python: one page per public package, with every name of its `__all__`."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Package: how its page is called in the menu. `test_site.py` holds this list complete.
PACKAGES = {
    "kgated": "kgated",
    "kgated.layers": "kgated.layers",
    "kgated.cells": "kgated.cells",
    "kgated.models": "kgated.models",
    "kgated.data": "kgated.data",
    "kgated.audio": "kgated.audio",
    "kgated.training": "kgated.training",
    "kgated.optimize": "kgated.optimize",
    "kgated.deploy": "kgated.deploy",
    "kgated.mixed_precision": "kgated.mixed_precision",
    "kgated.compare": "kgated.compare",
    "kgated.search": "kgated.search",
    "kgated.report": "kgated.report",
    "kgated.tuning": "kgated.tuning",
    "kgated.interop": "kgated.interop",
    "kgated.inspection": "kgated.inspection",
    "kgated.demos": "kgated.demos",
    "kgated.web": "kgated.web",
    "kgated.signing": "kgated.signing",
    "kgated_edge": "kgated_edge",
}
# What commands call, of packages that define no names themselves: a name with its module each.
ENTRIES = {
    "kgated.report": (
        *("read.read_runs", "read.Run", "page.render"),
        *("field.read_field_log", "field.FieldLog", "field.render_field"),
    ),
}


def source(package: str) -> Path:
    """The file of a package or module."""
    base = ROOT / ("edge" if package.startswith("kgated_edge") else "")
    path = base.joinpath(*package.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(package: str) -> list[str]:
    """The names of `__all__`, without importing anything; without one, those defined.

    A package in `ENTRIES` has those instead, as `module.name`.
    """
    if package in ENTRIES:
        return list(ENTRIES[package])
    tree = ast.parse(source(package).read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    kinds = ast.ClassDef | ast.FunctionDef
    return [n.name for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]


def page(package: str) -> str:
    """The page of a package, in Markdown for mkdocstrings."""
    tree = ast.parse(source(package).read_text())
    parts = [f"# `{package}`", ast.get_docstring(tree) or ""]
    if package in ENTRIES:
        parts.append(f"```python\n{imports(package)}\n```")
    for name in public_names(package):
        full = f"{package}.{name}"
        if full in PACKAGES:
            parts += [f"## `{name}`", f"See [{full}]({file_name(full)})."]
        else:
            parts.append(f"::: {full}")
    return "\n\n".join(parts) + "\n"


def imports(package: str) -> str:
    """The lines that import the entries of a package."""
    places = [f"{package}.{entry}".rpartition(".") for entry in ENTRIES[package]]
    return "\n".join(f"from {module} import {name}" for module, _, name in places)


def file_name(package: str) -> str:
    """The file of a package's page, in docs/reference."""
    return f"{package.replace('.', '-')}.md"
