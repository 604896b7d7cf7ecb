"""The checks of a command before it imports Keras: files, options, data sets."""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kgated_cli.light import import_light

STATIC = ("int8", "int16x8")
TEXT_LAYERS = (b"TextVectorization", b"StringLookup", b"IntegerLookup", b"LanguageModel")


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuse a file that can't be written, or that is one of the inputs.

    Raises:
        ValueError: an output is one of the inputs.
        OSError: it can't be written.
    """
    check_writable = import_light("kgated.atomic_write").check_writable
    read = {path.resolve(): path for path in inputs if path is not None}
    for output in filter(None, outputs):
        if check_writable(output).resolve() in read:
            raise ValueError(f"can't write {output}: it is one of the inputs; name another file")


def check_folder(folder: Path | None) -> None:
    """Refuse a folder that can't be made or written to.

    Raises:
        OSError: one line.
    """
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"can't write to {folder}: it is a file; name a folder")
    above = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    import_light("kgated.atomic_write").check_writable(above / "file")


def check_recipe(options: Mapping[str, Any]) -> None:
    """Refuse an unknown value, and options that exclude each other; `ValueError`."""
    import_light("kgated.deploy.recipe").Recipe(**{**options, "skip": tuple(options["skip"])})


def check_lengths(mode: str, length: int | None, max_length: int | None) -> None:
    """Refuse a length that can't be, or that the mode has no use for; `ValueError`."""
    if length is not None and max_length is not None:
        raise ValueError("--length and --max-length exclude each other: leave one of them out")
    for option, value in (("--length", length), ("--max-length", max_length)):
        if value is not None and value < 1:
            raise ValueError(f"{option} must be 1 frame or more. Received: {value}")
        if value is not None and mode == "stream":
            raise ValueError(
                f"{option} is for `--mode sequence`; a stream has no end. Leave it out, or give "
                "the mode"
            )


def check_calibration(
    model: Path, quantize: str, calibration: Path | None, has_vocabulary: bool = False
) -> None:
    """Refuse integers without ranges, and a data set that can't be read.

    Args:
        model: the file.
        quantize: the recipe.
        calibration: the data set.
        has_vocabulary: whether the command gives one, so that the data set may hold texts.

    Raises:
        ValueError: no data set where there must be one, or one that is wrong in itself.
    """
    if calibration is not None:
        if not (has_vocabulary or _holds(model, *TEXT_LAYERS)) or not _holds_texts(calibration):
            check_data(calibration)
    elif quantize in STATIC and not _holds(model, b"QuantizeAware"):
        raise ValueError(
            f"`quantize={quantize!r}` fixes the range of every tensor and needs `calibration`: "
            "real sequences, such as the training data, by --calibration; or a model that learned "
            "its ranges, from `kgated.quantize_aware`"
        )


def _holds(model: Path, *layers: bytes) -> bool:
    """Whether the configuration in a model file names one of some layers."""
    if not zipfile.is_zipfile(model):
        return False
    with zipfile.ZipFile(model) as archive:
        if "config.json" not in archive.namelist():
            return False
        config = archive.read("config.json")
        return any(layer in config for layer in layers)


def _holds_texts(path: Path) -> bool:
    from kgated_edge.evaluation.text_data import read_texts

    return read_texts(path) is not None


def check_data(path: Path) -> Any:
    """Read a data set as far as it is wrong or right by itself.

    Returns:
        The sequences, or None where they are those of a model with several inputs.

    Raises:
        ValueError: one line with everything that is wrong in it.
    """
    from kgated_edge.evaluation.dataset import check_npz

    return check_npz(path, targets=False)


def check_evaluation(path: Path) -> None:
    """Refuse evaluation data that are wrong in themselves, labels too; `ValueError`."""
    from kgated_edge.evaluation.dataset import check_npz

    check_npz(path)


def check_labels(path: Path) -> Any:
    """Read a data set for one input, with class labels 0..classes-1.

    Returns:
        The sequences.

    Raises:
        ValueError: as from `check_data`, or no such labels.
    """
    from kgated_edge.evaluation.dataset import load_npz

    matching = import_light("kgated.data.matching")
    data = matching.with_class_numbers(load_npz(path))
    classes = import_light("kgated.data").class_count(data.y, path)
    matching.check_class_names(data, classes, path)
    return data


def check_data_to_judge(path: Path) -> None:
    """Refuse a data set without labels of classes; `ValueError`."""
    from kgated_edge.evaluation.dataset import check_npz

    data = check_npz(path)
    if data is not None and (data.y is None or data.y.dtype.kind not in "iu"):
        raise ValueError(f"{path}: there must be class labels `y`, integers, to judge accuracy by")


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Refuse a value that is none of those known; `ValueError`."""
    if value not in known:
        raise ValueError(f"`{name}` must be one of {list(known)}. Received: {value!r}")


def check_number(option: str, value: float | None, low: float, high: float = float("inf")) -> None:
    """Refuse a number that is not above `low`, or not below `high`; `ValueError`."""
    if value is not None and not low < value < high:
        limit = "" if high == float("inf") else f" and below {high:g}"
        raise ValueError(f"{option} must be above {low:g}{limit}. Received: {value:g}")


def figures_of(texts: list[str]) -> dict[str, float]:
    """The figures of `--figure NAME=NUMBER`.

    Raises:
        ValueError: no number, an unknown name, or an accuracy in percent.
    """
    from kgated_edge.evaluation.limits import check_figure

    try:
        figures = {name: float(value) for name, value in (text.split("=") for text in texts)}
    except ValueError:
        raise ValueError(
            f"`figure` must be NAME=NUMBER, such as accuracy=0.98. Received: {texts}"
        ) from None
    for name, value in figures.items():
        try:
            check_figure(name, value)
        except ValueError as error:
            raise ValueError(f"`figure` {error}") from None
    return figures


def vocabulary_of(path: Path | None) -> Any:
    """The vocabulary of `--vocabulary`; `ValueError` or `EdgeError` for a file that holds none."""
    if path is None:
        return None
    from kgated_edge.text import read_vocabulary

    return read_vocabulary(path)


def threshold_of(value: float | None) -> float | None:
    """The threshold of `--threshold`; `ValueError` for one that is no finite number."""
    if value is not None and not abs(value) < float("inf"):
        raise ValueError(f"--threshold must be a finite number. Received: {value:g}")
    return value


def labels_of(text: str | None) -> list[str] | None:
    """The class names of `--labels`: separated by commas, or a file of one a line."""
    if text is None:
        return None
    path = Path(text)
    if path.is_dir() or (path.suffix == ".txt" and not path.is_file()):
        reason = "this is a folder" if path.is_dir() else "no such file"
        raise ValueError(f"--labels {path}: {reason}; give a file of one name a line")
    if not path.is_file():
        return _different(text.split(","))
    try:
        return _different(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise ValueError(f"--labels {path}: this is no text; give one name a line") from error


def _different(labels: list[str]) -> list[str]:
    if len(set(labels)) < len(labels):
        raise ValueError(f"--labels must be different names. Received: {labels}")
    return labels


def seconds_of(option: str, milliseconds: float | None) -> float | None:
    """A period of the command line in seconds; None where there is none.

    Raises:
        ValueError: it is not above 0.
    """
    check_number(option, milliseconds, 0.0)
    return None if milliseconds is None else milliseconds / 1e3
