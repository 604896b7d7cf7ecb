"""A file of the user's own layers, imported before the model that needs them."""

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any


def check_layers_file(path: Path) -> None:
    """Refuse a file that can't be imported, without running it.

    Raises:
        ValueError: no such file, or no Python; one line.
    """
    if not path.is_file():
        reason = "this is a folder" if path.is_dir() else "no such file"
        raise ValueError(f"--import {path}: {reason}; give a Python file, such as my_layers.py")
    if path.suffix != ".py":
        raise ValueError(f"--import {path}: this is no Python file; its name must end in .py")
    try:
        compile(path.read_bytes(), str(path), "exec")
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise ValueError(f"--import {path}{where}: {getattr(error, 'msg', error)}") from error


def import_layers(path: Path) -> dict[str, Any]:
    """Import the file; its layers, and the functions that it defines, by name.

    What it registers by `keras.saving.register_keras_serializable` is known to Keras by itself.

    Raises:
        ValueError: the file can't be imported; one line with the place in it.
    """
    import keras

    check_layers_file(path)
    name = path.stem
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.path.append(str(path.resolve().parent))
    sys.modules.setdefault(name, module)
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(_failure(path, error)) from error
    return {key: value for key, value in vars(module).items() if _is_offered(value, name, keras)}


def _is_offered(value: Any, module: str, keras: Any) -> bool:
    """Whether it is a layer of anybody but Keras, or another class or function of the file."""
    if inspect.isclass(value) and issubclass(value, keras.Layer):
        return not value.__module__.startswith("keras.")
    return (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module


def _failure(path: Path, error: BaseException) -> str:
    places = traceback.extract_tb(error.__traceback__)
    lines = [place.lineno for place in places if Path(place.filename).resolve() == path.resolve()]
    where = f", line {lines[-1]}" if lines else ""
    text = " ".join(str(error).split())
    return f"--import {path}{where}: {type(error).__name__}: {text}"
