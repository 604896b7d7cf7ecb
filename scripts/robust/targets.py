"""The parsers of kgated-edge as targets of a fuzzer: bytes in, a result or an `EdgeError` out."""

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from kgated_edge.errors import EdgeError
from kgated_edge.format.reader import parse_manifest, read_manifest
from kgated_edge.format.signing_section import read_signing
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.format.tflite_file import MANIFEST_NAME, digest_span, metadata_span
from kgated_edge.ingest.csv_layout import CsvColumns
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.input_counts import POLICIES
from kgated_edge.ingest.logmel import LogMel
from kgated_edge.ingest.sources import InputOptions, frames_of
from kgated_edge.ingest.wav_files import read_wav
from kgated_edge.runtime.state_file import read_arrays, write_state
from kgated_edge.verifier.structure import check_structure

Target = Callable[[bytes, Path], object]
FRAME = TensorSpec("frame", (3,), "float32")
DIGEST = "0" * 64


def manifest(content: bytes, scratch: Path) -> None:
    """The JSON of a manifest."""
    parse_manifest(content)


def container(content: bytes, scratch: Path) -> None:
    """The metadata of a `.tflite` file, before its digest is checked."""
    span = metadata_span(content, MANIFEST_NAME)
    if span is not None:
        digest_span(content, *span)


def signature(content: bytes, scratch: Path) -> None:
    """The section of a signature."""
    read_signing(content)


def verifier(content: bytes, scratch: Path) -> None:
    """The structure of a graph, before the interpreter reads it."""
    check_structure(content)


def state(content: bytes, scratch: Path) -> None:
    """A state file."""
    scratch.write_bytes(content)
    read_arrays(scratch, DIGEST)


def wav(content: bytes, scratch: Path) -> None:
    """A WAV file, whole and as a stream of log-mel frames."""
    scratch.write_bytes(content)
    read_wav(scratch)
    _consume(frames_of(io.BytesIO(content), "wav", FRAME, _front_end, InputOptions()))


def csv(content: bytes, scratch: Path) -> None:
    """Frames in CSV, by each policy for bad lines; the first byte chooses it."""
    policy, rest = POLICIES[content[0] % len(POLICIES)] if content else POLICIES[0], content[1:]
    for columns in (CsvColumns(), CsvColumns(features=("a", "b", "c"), time="t")):
        options = InputOptions(columns, policy)
        try:
            _consume(frames_of(io.BytesIO(rest), "csv", FRAME, _front_end, options))
        except EdgeError:
            continue


TARGETS: dict[str, Target] = {
    "manifest": manifest,
    "container": container,
    "signature": signature,
    "verifier": verifier,
    "state": state,
    "wav": wav,
    "csv": csv,
}


def seeds(target: str, fixtures: Path, scratch: Path) -> list[bytes]:
    """A few valid inputs, to start from."""
    models = [fixtures / "speech.tflite", fixtures / "signed" / "speech.tflite"]
    contents = [model.read_bytes() for model in models]
    if target == "manifest":
        texts = [read_manifest(fixtures / f"{n}.tflite").to_json() for n in ("int8", "blocks")]
        return [text.encode() for text in texts]
    if target == "state":
        write_state(scratch, DIGEST, {"h": np.zeros(4, np.float32)})
        return [scratch.read_bytes(), _stored_state()]
    if target == "wav":
        return [_wav(1, 16), _wav(2, 24), _wav(1, 32)]
    if target == "csv":
        return [b"\0t,a,b,c\n1,1,2,3\n2,4,5,nan\n", b"\x011;2;3\n4;5;6\n", b"\x021 2 3\n4 5\n"]
    return contents


def _consume(frames: Iterator[object]) -> None:
    for _ in frames:
        pass


def _front_end(rate: int | None) -> LogMel | FrontEnd:
    return LogMel(rate=rate or 16_000, mels=3, window=256, hop=64)


def _stored_state() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (("model_sha256", np.array(DIGEST)), ("state.h", np.zeros(2))):
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(f"{name}.npy", member.getvalue())
    return buffer.getvalue()


def _wav(channels: int, bits: int) -> bytes:
    data = bytes(range(240)) * 2
    rate, width = 16_000, channels * bits // 8
    sizes = ((1, 2), (channels, 2), (rate, 4), (rate * width, 4), (width, 2), (bits, 2))
    layout = b"".join(number.to_bytes(size, "little") for number, size in sizes)
    chunks = b"fmt " + len(layout).to_bytes(4, "little") + layout
    chunks += b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + (len(chunks) + 4).to_bytes(4, "little") + b"WAVE" + chunks
