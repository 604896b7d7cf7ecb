"""Model files, as every command reads them."""

import json
import zipfile
from pathlib import Path
from typing import Any

from kgated_cli.user_code import import_layers

HDF5 = b"\x89HDF\r\n\x1a\n"
TORCH = (".pt", ".pth", ".ckpt", ".safetensors")


def check_model_file(path: Path) -> None:
    """Refuse what can't be a model of Keras, without Keras.

    Raises:
        ValueError: one line: what the file is, and what to do with it.
    """
    if path.is_dir():
        raise ValueError(_folder(path))
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a model saved by `model.save('….keras')`")
    if path.suffix in TORCH or _is_torch(path):
        raise ValueError(
            f"{path}: this is a file of PyTorch, and it holds no graph of layers: build the model "
            "in Keras with the layers that `kgated.interop.from_torch(path)` returns, such as "
            "`keras.Sequential([keras.Input((None, 12)), *from_torch(path, prefix='lstm.')])`, "
            "save it by `model.save('model.keras')` and convert that; see docs/importing.md"
        )
    if path.suffix == ".onnx":
        raise ValueError(
            f"{path}: this is a model of ONNX: build the model in Keras with the layers that "
            "`kgated.interop.from_onnx(onnx.load(path))` returns, such as `keras.Sequential([keras."
            "Input((None, 12)), *(one.layer for one in from_onnx(onnx.load(path)))])`, save it by "
            "`model.save('model.keras')` and convert that; see docs/importing.md"
        )
    if path.suffix == ".tflite":
        raise ValueError(
            f"{path}: this is a converted file, and there is no way back to Keras: give the model "
            "that it was made from; `kgated inspect` shows what is in it"
        )
    if path.suffix in SIGNATURES and not SIGNATURES[path.suffix](path):
        reason = "this is no intact file of Keras" if path.stat().st_size else "the file is empty"
        raise ValueError(
            f"{path}: {reason}; copy it again, or save the model by `model.save('….keras')`"
        )
    if path.suffix in (".json", ".yaml", ".pb"):
        raise ValueError(f"{path}: this is no whole model; save it by `model.save('….keras')`")


def _folder(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return (
            f"{path}: this is a SavedModel, a graph without layers, and so is a "
            "`keras.layers.TFSMLayer` around it: build the model again from its code, take the "
            "weights over, by `model.load_weights()` from an .h5 file or by `tf.train."
            f"load_checkpoint('{path}/variables/variables')`, and save it by "
            "`model.save('model.keras')`; see docs/importing.md"
        )
    return f"{path}: this is a folder; give a model saved by `model.save('….keras')`"


def _is_torch(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HDF5)) == HDF5


# By the ending of a name, whether a file begins as such a one does.
SIGNATURES = {
    ".keras": lambda path: zipfile.is_zipfile(path) or _is_hdf5(path),
    ".h5": _is_hdf5,
    ".hdf5": _is_hdf5,
}


def load_model(path: Path, layers_file: Path | None = None) -> Any:
    """Load a `.keras` file, or an `.h5` file of Keras 2 or 3, with our layers known.

    Args:
        path: the file.
        layers_file: a Python file with the layers of the user's own, imported before.

    Raises:
        ValueError: no Keras model, or one that holds layers that nobody registered; one line that
            has a remedy.
    """
    check_model_file(path)
    import keras

    import kgated.models  # noqa: F401 - registers the layers and the language model
    from kgated.interop import load_h5

    custom = {} if layers_file is None else import_layers(layers_file)
    if _is_of_keras2(path):
        return load_h5(path, custom)
    try:
        return keras.saving.load_model(path, custom_objects=custom, compile=False)
    except Exception as error:
        raise ValueError(f"{path}: {_reason(str(error) or repr(error), layers_file)}") from error


def _is_of_keras2(path: Path) -> bool:
    """Whether it is an HDF5 file, or a `.keras` file that Keras 2 wrote."""
    if _is_hdf5(path):
        return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        if "metadata.json" not in archive.namelist():
            return False
        version = json.loads(archive.read("metadata.json")).get("keras_version", "")
    return str(version).startswith("2")


def _reason(message: str, layers_file: Path | None) -> str:
    """The error of Keras in one line, with a remedy."""
    if "Lambda" in message and "unsafe" in message:
        return (
            "the model holds a Lambda layer, whose Python code is in the file and is not run: "
            "write it as a subclass of `keras.layers.Layer` in a file of your own, build and save "
            "the model with that, and give the file by `--import my_layers.py`"
        )
    if "Could not locate" in message:
        name = message.partition("Could not locate")[2].partition(".")[0].strip()
        where = "; give the file that holds it by `--import my_layers.py`"
        if layers_file is not None:
            where = f", and {layers_file} holds none: is its name another one there?"
        return f"the model uses {name}, which is not known here{where}"
    cause = message.rpartition("Exception encountered:")[2].strip() or message
    lines = cause.strip().splitlines()
    return f"can't be loaded as a Keras model: {lines[-1][:300]}"
