"""Model files, as every command reads them."""

from pathlib import Path
from typing import Any


def load_model(path: Path) -> Any:
    """Load a `.keras` file with our layers known.

    Raises:
        ValueError: the file is missing, no Keras model, or holds layers that nobody registered.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a model saved by `model.save('….keras')`")
    import keras

    import kgated.models  # noqa: F401 - registers the layers and the language model

    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        reason = str(error).strip().splitlines() or [repr(error)]
        raise ValueError(f"{path}: can't be loaded as a Keras model: {reason[-1][:300]}") from error
