"""What the project's source files import and name, read from their syntax trees."""

import ast
import functools
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = {"kgated": ROOT, "kgated_cli": ROOT, "kgated_edge": ROOT / "edge"}
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}  # public, in spite of the underscore
INTERNAL_PACKAGES = ("tensorflow.python", "keras.src", "tf_keras.src")
_MODULE_IN_TEXT = re.compile(r"kgated\w*(\.\w+)*(:\w+)?")


@functools.cache
def modules():
    """The file of each module of the product by its dotted name; a package is its `__init__`."""
    paths = {"kgated_worker": ROOT / "kgated_worker.py"}
    for package, folder in PACKAGES.items():
        for path in (folder / package).rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


@functools.cache
def syntax(path):
    return ast.parse(path.read_text())


def imports(tree):
    """Every dotted name that a file imports, `a` and `a.b` of `from a import b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "import by the full name"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_in_text(tree):
    """Names of modules in strings, as a command line or a job for another process has them.

    "kgated" alone names the package in too many other senses.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if _MODULE_IN_TEXT.fullmatch(text) and (":" in text or text.startswith("kgated_")):
                yield text.split(":")[0]


def dependencies(tree, known, package=""):
    """The modules among `known` that a file of a package depends on, as its imports say.

    `from a import b` is the module `a.b` where there is one, and otherwise `a`. In text, a package
    may say its own name.
    """
    actual = (set(modules_in_text(tree)) & set(known)) - {package}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            actual |= {alias.name for alias in node.names} & set(known)
        elif isinstance(node, ast.ImportFrom):
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            actual |= {name for name in inner.values() if name in known}
            if node.module in known and not set(inner.values()) <= set(known):
                actual.add(node.module)
    return actual


@functools.cache
def arrows():
    """(module, module that it depends on), for every file of the product."""
    known = modules()
    return tuple(
        (name, target)
        for name, path in sorted(known.items())
        for target in sorted(dependencies(syntax(path), known, name.split(".")[0]))
        if target != name
    )


def child(module, package):
    """The part of a package that a module belongs to: "a.b" and "a.b.c" to `b` of "a".

    The package's own `__init__` is a part of that name; None for a module outside of the package.
    """
    if module == package:
        return "__init__"
    inside = module.startswith(f"{package}.")
    return module.removeprefix(f"{package}.").split(".")[0] if inside else None


def arrows_within(package, all_arrows):
    """Arrows between different parts of one package, with the modules that have them."""
    for source, target in all_arrows:
        ends = child(source, package), child(target, package)
        if None not in ends and ends[0] != ends[1]:
            yield (*ends, source, target)


def circle(edges):
    """Parts that depend on one another in a circle, in its order; None where there is none."""
    graph = {}
    for source, target in edges:
        graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def defined_names(tree):
    """What a file itself defines: functions, classes, variables, attributes set on `self`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _on_self(node):
            names.add(node.attr)
    return names


def private_names(tree, own):
    """Private names of other packages that a file uses, but for those that `own` defines too.

    They are attributes, modules, and names that `getattr` and its like spell out.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
            yield node.attr
        elif isinstance(node, ast.Call) and (name := _asked_for(node)) and name not in own:
            yield name
    for name in imports(tree):
        is_private = any(map(_is_private, name.split("."))) and not name.startswith("kgated")
        if is_private or name.startswith(INTERNAL_PACKAGES):
            yield name


def _on_self(node):
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def _is_private(name):
    documented = NAMED_TUPLE | {"_", "_exit"}  # `os._exit`
    return name.startswith("_") and not name.endswith("__") and name not in documented


def _asked_for(call):
    """The private name that a call of `getattr` or its like spells out."""
    asks = isinstance(call.func, ast.Name) and call.func.id in ("getattr", "setattr", "hasattr")
    names = [a.value for a in call.args if isinstance(a, ast.Constant) and type(a.value) is str]
    return next(filter(_is_private, names), None) if asks else None
