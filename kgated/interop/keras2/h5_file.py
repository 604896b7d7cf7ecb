"""Load models into Keras 3 that Keras 2, TensorFlow 1.x or TensorFlow 2.x saved."""

import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from kgated.argument_checks import as_path
from kgated.errors import first_line
from kgated.interop.keras2.configuration import HINT, MODELS, Translator
from kgated.interop.keras2.graph import Config
from kgated.interop.keras2.weights import STEEPNESS, assign, read_weights, scale_hard_sigmoids

_DAMAGED = (
    "the configuration in the file is not that of a whole Keras model; copy the file again, "
    "or save the model again by `model.save()`"
)


@keras.saving.register_keras_serializable("kgated")
def keras2_hard_sigmoid(x: Any) -> Any:
    """Keras 2's hard sigmoid, clip(0.2 x + 0.5) to 0..1; Keras 3's is flatter."""
    return keras.ops.hard_sigmoid(STEEPNESS * x)


def load_h5(path: str | Path, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
    """Load a whole model that Keras 2 saved, from an `.h5` file or a `.keras` file.

    The model computes what it computed in Keras 2:

    - `CuDNNLSTM` becomes LSTM and `CuDNNGRU` becomes GRU with `reset_after=True`, their weights
      brought into Keras's layout.
    - A recurrent "hard_sigmoid" is clip(0.2 a + 0.5) in Keras 2 and clip(a / 6 + 0.5) in Keras 3.
      The weights of its gates are multiplied by 1.2, so that the results stay the same. In other
      layers the activation becomes the function `keras2_hard_sigmoid`.
    - A GRU without `reset_after` in its configuration has `reset_after=False`.
    - Options that Keras 3 doesn't have are dropped if they change nothing (`time_major=False`,
      `implementation`, `batch_input_shape`, `input_length`); the others raise an error.
    - An input that only Embedding layers read becomes int32.

    Initializers and the state of the optimizer are not loaded, and the model is not compiled. `.h5`
    files that Keras 3 saved can be loaded too.

    Args:
        path: a file that `model.save()` wrote; not a folder, and not a file of `save_weights()`.
        custom_objects: name to class or function, for those that the model uses and that are not
            registered by `keras.saving.register_keras_serializable`.

    Returns:
        A `keras.Sequential` or a functional model, with its weights.

    Raises:
        ValueError: the file holds no whole model of Keras 2 or 3, or the model has a part that
            Keras 3 can't build: an operation of TensorFlow, a Lambda, an unknown class,
            `time_major=True`. The message names the layer and says what to do.

    Example:
        >>> model = kgated.interop.load_h5("old.h5")  # (None, 20, 5) -> (None, 2)
        >>> model.save("new.keras")
    """
    path = as_path("path", path)
    if not isinstance(custom_objects, Mapping | None):
        raise TypeError(
            f"`custom_objects` must be classes and functions by name. Received: {custom_objects!r}"
        )
    known = dict(custom_objects or {})
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {reason}; give what `model.save()` wrote")
    try:
        if zipfile.is_zipfile(path):
            return _from_archive(path, known)
        with h5py.File(path) as file:
            return _from_file(file, known)
    except OSError as error:
        raise ValueError(
            f"{path}: this is no HDF5 file, or an incomplete one ({first_line(error)}): copy it "
            "again, or save the model again by `model.save()`"
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: {_DAMAGED} ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: {_DAMAGED} ({type(error).__name__}: {first_line(error)})"
        ) from error


def _from_file(file: Any, custom_objects: dict[str, Any]) -> keras.Model:
    if "model_config" not in file.attrs or "model_weights" not in file:
        raise ValueError(
            "the file holds weights and no model, as `save_weights()` writes it: build the model "
            "in Keras 3 and load the weights by `model.load_weights(path)`"
        )
    weights = file["model_weights"]
    version = _text(file.attrs.get("keras_version", weights.attrs.get("keras_version", "2")))
    model = _build(json.loads(_text(file.attrs["model_config"])), version, custom_objects)
    assign(model, read_weights(weights))
    if not version.startswith("3"):
        scale_hard_sigmoids(model)
    return model


def _from_archive(path: Path, custom_objects: dict[str, Any]) -> keras.Model:
    """The model of a `.keras` file; its weights may be stored as Keras 2 or as Keras 3 does it."""
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        version = json.loads(archive.read("metadata.json"))["keras_version"]
        model = _build(json.loads(archive.read("config.json")), version, custom_objects)
        weights = archive.extract("model.weights.h5", folder)
        with h5py.File(weights, "r+") as file:
            if "_layer_checkpoint_dependencies" in file:
                file.move("_layer_checkpoint_dependencies", "layers")
        model.load_weights(weights)
    if not version.startswith("3"):
        scale_hard_sigmoids(model)
    return model


def _build(entry: Config, version: str, custom_objects: dict[str, Any]) -> keras.Model:
    """The model without its weights."""
    if version.startswith(("0", "1")):
        raise ValueError(
            f"the file is of Keras {version}: load it in Keras 2 and save it there again"
        )
    if entry["class_name"] not in MODELS:
        raise ValueError(
            f"the model is of the custom class {entry['class_name']}, and a file of Keras 2 "
            f"contains no code: {HINT}"
        )
    translator = Translator(not version.startswith("3"), custom_objects)
    translated = translator.model(entry)
    with keras.saving.custom_object_scope(custom_objects):
        try:
            return keras.saving.deserialize_keras_object(translated)
        except (TypeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).rpartition("Exception encountered:")[2].split())[:300]
            raise ValueError(f"Keras 3 can't build the model ({reason}): {HINT}") from error


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
