"""A recipe as a JSON file, for `kgated convert --recipe`."""

import json
from dataclasses import fields
from pathlib import Path

from kgated.atomic_write import replace_file
from kgated.deploy.recipe import Recipe


def save_recipe(path: str | Path, recipe: Recipe) -> None:
    """Write a recipe, whole or not at all; its fields are options of `to_tflite`.

    Raises:
        OSError: the file can't be written.
    """
    replace_file(path, json.dumps(recipe.as_dict(), indent=2).encode() + b"\n")


def load_recipe(path: str | Path) -> Recipe:
    """Read what `save_recipe` wrote.

    Raises:
        ValueError: no such file, no JSON object, an unknown field, a value that no recipe has.
    """
    known = {field.name for field in fields(Recipe)}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: can't be read as a recipe: {error}") from error
    if not isinstance(found, dict) or not set(found) <= known:
        raise ValueError(
            f"{path}: a recipe is a JSON object of {sorted(known)}; save one by `kgated optimize`"
        )
    skip = found.get("skip", [])
    if not isinstance(skip, list) or not all(isinstance(name, str) for name in skip):
        raise ValueError(f"{path}: `skip` must be a list of layers' names. Received: {skip!r}")
    try:
        return Recipe(**{**found, "skip": tuple(skip)})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
