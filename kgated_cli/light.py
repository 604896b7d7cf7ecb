"""Modules of kgated that need neither Keras nor TensorFlow, imported without either.

Importing `kgated` imports Keras, which takes seconds. What can be found wrong without it, is found
before it is imported: with the very code that the package itself checks by.
"""

import importlib
import importlib.util
import sys
from types import ModuleType


def import_light(name: str) -> ModuleType:
    """A module of kgated, without the `__init__` of the packages that it lies in.

    Its classes are others than those of the package imported as usual, so nothing made by them
    goes there.

    Args:
        name: such as "kgated.deploy.recipe"; it imports only other light modules.
    """
    if "kgated" in sys.modules:
        return importlib.import_module(name)
    package_spec = importlib.util.find_spec("kgated")
    assert package_spec is not None
    places = list(package_spec.submodule_search_locations or [])
    parts = name.split(".")
    try:
        for depth in range(1, len(parts)):
            package = ModuleType(".".join(parts[:depth]))
            package.__path__ = [f"{place}/{'/'.join(parts[1:depth])}" for place in places]
            sys.modules[package.__name__] = package
        return importlib.import_module(name)
    finally:
        for module in [m for m in sys.modules if m == "kgated" or m.startswith("kgated.")]:
            del sys.modules[module]
