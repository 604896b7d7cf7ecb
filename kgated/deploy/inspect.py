"""Describes the content of any `.tflite` file: `kgated inspect`."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from kgated_edge.errors import ManifestError
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.tflite_file import MANIFEST_NAME, metadata_span
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from kgated.deploy.tflite import flatbuffer


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature: shape with the batch axis, scale where it is quantized."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class Signature:
    """A signature: its name, inputs and outputs."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Description:
    """The content of a file, read without running it.

    Attributes:
        path: the file.
        file_bytes: its size.
        weight_bytes: of its constants by dtype; with 4 bits two numbers share a byte.
        manifest_bytes: of the manifest; 0 where there is none.
        signatures: what can be run.
        operators: how many of each there are.
        manifest: what kgated wrote into it, None for a file of another tool.
    """

    path: str
    file_bytes: int
    weight_bytes: dict[str, int]
    manifest_bytes: int
    signatures: tuple[Signature, ...]
    operators: dict[str, int]
    manifest: Manifest | None


def describe(path: str | Path) -> Description:
    """Describe a `.tflite` file without running it.

    Raises:
        ValueError: no TFLite file, a damaged one, or one whose manifest does not fit it.
        OSError: it can't be read.
    """
    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(f"{path}: this is not a TFLite file; give one made by `kgated convert`")
    try:
        return _describe(path, content)
    except ManifestError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    # The generated readers meet damage with whatever Python raises on a bad offset.
    except Exception as error:
        reason = type(error).__name__
        raise ValueError(f"{path}: the file is damaged ({reason}); copy it again") from None


def _describe(path: str | Path, content: bytes) -> Description:
    span, model = metadata_span(content, MANIFEST_NAME), flatbuffer.parse(content)
    names = (flatbuffer.operator_name(model, o) for _, o in flatbuffer.operators(model))
    return Description(
        path=str(path),
        file_bytes=len(content),
        weight_bytes=_weights(model),
        manifest_bytes=0 if span is None else span[1] - span[0],
        signatures=tuple(_signature(model, entry) for entry in model.signatureDefs or []),
        operators=dict(Counter(names).most_common()),
        manifest=None if span is None else read_manifest(path),
    )


def as_plain(description: Description) -> dict[str, object]:
    """The description for JSON."""
    return {
        "path": description.path,
        "file_bytes": description.file_bytes,
        "weight_bytes": description.weight_bytes,
        "manifest_bytes": description.manifest_bytes,
        "signatures": [
            {
                "name": signature.name,
                "inputs": [vars(tensor) for tensor in signature.inputs],
                "outputs": [vars(tensor) for tensor in signature.outputs],
            }
            for signature in description.signatures
        ],
        "operators": description.operators,
        "manifest": None if description.manifest is None else manifest_facts(description.manifest),
    }


def manifest_facts(manifest: Manifest) -> dict[str, Any]:
    """The fields of a manifest, for JSON; of the golden frames and outputs the shapes alone."""
    facts: dict[str, Any] = json.loads(manifest.to_json())
    for side in ("frames", "outputs"):
        arrays = facts["golden"][side]
        facts["golden"][side] = {name: array["shape"] for name, array in arrays.items()}
    return facts


def _signature(model: schema.ModelT, entry: schema.SignatureDefT) -> Signature:
    tensors = model.subgraphs[entry.subgraphIndex].tensors

    def listed(side: Iterable[schema.TensorMapT]) -> tuple[Tensor, ...]:
        return tuple(_tensor(item.name.decode(), tensors[item.tensorIndex]) for item in side)

    return Signature(entry.signatureKey.decode(), listed(entry.inputs), listed(entry.outputs))


def _tensor(name: str, tensor: schema.TensorT) -> Tensor:
    scale, zero_point = flatbuffer.scale_and_zero_point(tensor) or (None, None)
    shape = tuple(map(int, tensor.shape if tensor.shape is not None else ()))
    return Tensor(name, flatbuffer.type_name(tensor), shape, scale, zero_point)


def _weights(model: schema.ModelT) -> dict[str, int]:
    """Bytes of the constants by dtype; a buffer that several tensors share counts once."""
    kinds = {
        tensor.buffer: flatbuffer.type_name(tensor)
        for subgraph in model.subgraphs
        for tensor in subgraph.tensors
    }
    sizes: Counter[str] = Counter()
    for index, kind in kinds.items():
        data = model.buffers[index].data
        if data is not None and len(data):
            sizes[kind] += len(data)
    return dict(sizes.most_common())


def show(description: Description, console: Console) -> None:
    """Print sizes, signatures, operators, and the manifest where there is one."""
    sizes = ", ".join(f"{kind} {_kib(size)}" for kind, size in description.weight_bytes.items())
    size = _kib(description.file_bytes)
    console.print(f"{description.path}: {size}; constants: {sizes or 'none'}")
    console.print(_tensors(description))
    counts = ", ".join(f"{count} {name}" for name, count in description.operators.items())
    console.print(f"operators: {counts or 'none'}\n")
    if description.manifest is None:
        console.print("manifest: none; the file was not made by `kgated convert`")
        return
    table = Table("manifest", box=SIMPLE)
    table.add_column(_kib(description.manifest_bytes), overflow="fold")
    facts = manifest_facts(description.manifest)
    for vocabulary in facts.get("vocabularies", {}).values():
        vocabulary["tokens"] = str(len(vocabulary["tokens"]))
    for name, value in facts.items():
        table.add_row(name, _text(value))
    console.print(table)


def _tensors(description: Description) -> Table:
    manifest = description.manifest
    states = {state.name for state in manifest.states} if manifest else set()
    table = Table("signature", box=SIMPLE)
    table.add_column("tensor", overflow="fold")
    for name in ("", "dtype", "shape", "scale, zero point"):
        table.add_column(name)
    for signature in description.signatures:
        for kind, tensors in (("in", signature.inputs), ("out", signature.outputs)):
            for tensor in tensors:
                role = f"state {kind}" if tensor.name in states else kind
                table.add_row(signature.name, tensor.name, role, *_cells(tensor))
    return table


def _cells(tensor: Tensor) -> tuple[str, ...]:
    quantized = "" if tensor.scale is None else f"{tensor.scale:.6g}, {tensor.zero_point}"
    shape = " x ".join(map(str, tensor.shape)) or "scalar"
    return tensor.dtype, shape, quantized


def _text(value: object) -> str:
    if isinstance(value, dict):
        known = {name: item for name, item in value.items() if item is not None}
        return ", ".join(f"{name} {_text(item)}" for name, item in known.items())
    if isinstance(value, list):
        between = "; " if any(isinstance(item, dict) for item in value) else ", "
        numbers = value and all(isinstance(item, int) for item in value)
        return (" x " if numbers else between).join(map(_text, value)) or "none"
    return "none" if value is None else str(value)


def _kib(size: int) -> str:
    return f"{size / 1024:.1f} KiB"
