"""What a command can find wrong before it imports Keras: files, options, data sets."""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kgated_cli.light import import_light

STATIC = ("int8", "int16x8")


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


def check_calibration(model: Path, quantize: str, calibration: Path | None) -> None:
    """Refuse integers without ranges, and a data set that can't be read.

    Raises:
        ValueError: no data set where there must be one, or one that is wrong in itself.
    """
    if calibration is not None:
        check_data(calibration)
    elif quantize in STATIC and not _learned_its_ranges(model):
        raise ValueError(
            f"`quantize={quantize!r}` fixes the range of every tensor and needs `calibration`: "
            "real sequences, such as the training data, by --calibration; or a model that learned "
            "its ranges, from `kgated.quantize_aware`"
        )


def _learned_its_ranges(model: Path) -> bool:
    if not zipfile.is_zipfile(model):
        return False
    with zipfile.ZipFile(model) as archive:
        names = archive.namelist()
        return "config.json" in names and b"QuantizeAware" in archive.read("config.json")


def check_data(path: Path) -> Any:
    """Read a data set as far as it is wrong or right by itself.

    Returns:
        The sequences, or None where they are those of a model with several inputs.

    Raises:
        ValueError: one line with everything that is wrong in it.
    """
    from kgated_edge.evaluation.dataset import check_npz

    return check_npz(path, targets=False)


def check_labels(path: Path) -> Any:
    """Read a data set for one input, with class labels 0..classes-1.

    Returns:
        The sequences.

    Raises:
        ValueError: as from `check_data`, or no such labels.
    """
    from kgated_edge.evaluation.dataset import load_npz

    data = load_npz(path)
    import_light("kgated.data").class_count(data.y, path)
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
    from kgated_edge.evaluation.limits import METRICS

    try:
        figures = {name: float(value) for name, value in (text.split("=") for text in texts)}
    except ValueError:
        raise ValueError(
            f"`figure` must be NAME=NUMBER, such as accuracy=0.98. Received: {texts}"
        ) from None
    if unknown := sorted(figures.keys() - set(METRICS)):
        raise ValueError(f"`figure` must name some of {list(METRICS)}. Received: {unknown[0]}")
    for name, value in figures.items():
        if abs(value) == float("inf") or value != value:
            raise ValueError(f"`figure` must be a finite number. Received: {name}={value}")
    accuracy = figures.get("accuracy", 0.0)
    if not 0.0 <= accuracy <= 1.0:
        hint = f": write accuracy={accuracy / 100:.6g}" if 1.0 < accuracy <= 100.0 else ""
        raise ValueError(
            f"`figure` takes the accuracy as a share between 0 and 1{hint}. Received: {accuracy:g}"
        )
    return figures


def labels_of(text: str | None) -> list[str] | None:
    """The class names of `--labels`: separated by commas, or a file of one a line."""
    if text is None:
        return None
    if Path(text).is_file():
        return Path(text).read_text(encoding="utf-8").splitlines()
    return text.split(",")
