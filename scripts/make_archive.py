"""Adds files of this version to the archive that must load forever.

`python scripts/make_archive.py 0.2.0` writes `NAME.tflite` files into the folder `0.2.0` of the
archive, for each file `NAME.npz` with frames and the outputs of this version, and
`NAME.state.npz` with the state after them. `--only operation` writes some of them. Nothing that is
in the archive is ever changed; `SHA256SUMS` holds the digests.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import keras
import numpy as np
import typer
from kgated_edge import ClassThreshold, EdgeModel, EventSettings, SequenceData, open_model
from kgated_edge.format.front_end import FrontEndSpec
from kgated_edge.format.tensor_spec import TensorSpec

import kgated
from kgated.signing import generate_key, sign
from kgated.tuning import conformal_intervals, write_section

ARCHIVE = Path(__file__).parents[1] / "tests" / "edge" / "fixtures" / "archive"
FRAMES = 6
SUFFIXES = (".tflite", ".npz", ".pub")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """Values (*shape) float32 of a normal distribution."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def classifier(cell: Callable[..., Any]) -> keras.Model:
    """Frames (3,) to two classes."""
    layers = [keras.Input((None, 3)), cell(4), keras.layers.Dense(2, activation="softmax")]
    return keras.Sequential(layers)


def streams(folder: Path) -> None:
    """A stream by each recipe, with calibration, so that all of them hold feature statistics."""
    model, x = classifier(kgated.PeepholeLSTM), random(32, 20, 3)
    for quantize in ("none", "float16", "dynamic", "dynamic4", "int8", "int16x8"):
        path = folder / f"stream-{quantize}.tflite"
        kgated.to_tflite(model, path, quantize=quantize, calibration=x, labels=["no", "yes"])
    kgated.to_tflite(model, folder / "stream-internal.tflite", state="internal")


def sequences(folder: Path) -> None:
    """Whole sequences, padded ones too."""
    model = classifier(kgated.LSTM)
    kgated.to_tflite(model, folder / "sequence.tflite", mode="sequence", length=FRAMES)
    kgated.to_tflite(model, folder / "sequence-padded.tflite", mode="sequence", max_length=16)


def tokens(folder: Path) -> None:
    """Ids with a vocabulary."""
    vocabulary = keras.layers.TextVectorization(vocabulary=["red", "green", "blue"])
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(5, 3),
            kgated.GRU(4),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    facts = {"labels": ["no", "yes"], "vocabulary": vocabulary}
    kgated.to_tflite(model, folder / "tokens.tflite", **facts)


def sections(folder: Path) -> None:
    """Files with settings of events and with intervals."""
    events = folder / "events.tflite"
    kgated.to_tflite(classifier(kgated.GRU), events, labels=["no", "yes"], sample_period_s=0.01)
    settings = EventSettings(smoothing_s=0.05, classes={"yes": ClassThreshold(0.6, 0.4)})
    write_section(events, "events", settings.to_plain())
    forecast = folder / "intervals.tflite"
    kgated.to_tflite(keras.Sequential([keras.Input((None, 3)), kgated.MinGRU(2)]), forecast)
    data = SequenceData(random(40, 8, 3), np.full(40, 8), random(40, 2, seed=1))
    write_section(forecast, "intervals", conformal_intervals(forecast, data).to_plain())


def operation(folder: Path) -> None:
    """Files with a front end, with a signature, for sessions together, and with blocks of frames.

    The public key of the signature stays beside its file; the private one is not kept.
    """
    audio, signed = folder / "front-end.tflite", folder / "signed.tflite"
    kgated.to_tflite(classifier(kgated.GRU), audio, labels=["no", "yes"], sample_period_s=0.01)
    write_section(audio, "front_end", FrontEndSpec(mels=3).to_plain())
    kgated.to_tflite(classifier(kgated.MinLSTM), signed, labels=["no", "yes"])
    with TemporaryDirectory() as private:
        generate_key(Path(private) / "key", signed.with_suffix(".pub"))
        sign(signed, Path(private) / "key", version=1)
    kgated.to_tflite(classifier(kgated.LSTM), folder / "sessions.tflite", sessions=2)
    kgated.to_tflite(classifier(kgated.GRU), folder / "block.tflite", block=3)


MAKERS = {make.__name__: make for make in (streams, sequences, tokens, sections, operation)}


def record(path: Path) -> None:
    """Write frames, outputs and state beside a file."""
    model = open_model(path)
    frames = {spec.name: random_frames(spec) for spec in model.manifest.frames}
    outputs = model.run(frames if len(frames) > 1 else next(iter(frames.values())))
    if not isinstance(outputs, dict):
        outputs = {model.manifest.outputs[0].name: outputs}
    arrays = {f"in_{k}": v for k, v in frames.items()} | {f"out_{k}": v for k, v in outputs.items()}
    np.savez(path.with_suffix(".npz"), **arrays)
    if isinstance(model, EdgeModel) and model.manifest.state == "external":
        model.save_state(path.with_suffix(".state.npz"))


def random_frames(spec: TensorSpec) -> np.ndarray:
    """Frames (FRAMES, *shape) of what an input takes."""
    if spec.dtype == "int32":
        return np.random.default_rng(1).integers(5, size=(FRAMES, *spec.shape)).astype(np.int32)
    return random(FRAMES, *spec.shape, seed=1)


def checksums() -> str:
    """Lines for `sha256sum -c`, of all files in the archive."""
    paths = sorted(p for p in ARCHIVE.rglob("*") if p.suffix in SUFFIXES)
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(ARCHIVE)}" for p in paths
    ]
    return "\n".join(lines) + "\n"


def main(
    number: Annotated[str, typer.Argument(help="The version, such as 0.1.0.")],
    only: Annotated[list[str] | None, typer.Option(help="Groups of files (all).")] = None,
) -> None:
    folder = ARCHIVE / number
    folder.mkdir(parents=True)  # an archive of this version that exists is not touched
    keras.utils.set_random_seed(0)
    for name in only or MAKERS:
        MAKERS[name](folder)
    for path in sorted(folder.glob("*.tflite")):
        record(path)
    (ARCHIVE / "SHA256SUMS").write_text(checksums())


if __name__ == "__main__":
    typer.run(main)
