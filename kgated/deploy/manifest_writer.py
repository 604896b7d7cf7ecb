"""Writes the manifest into a `.tflite` file; `kgated_edge.format` defines and reads it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ai_edge_litert import schema_py_generated as schema
from kgated_edge.format.manifest import Manifest, TensorSpec
from kgated_edge.format.reader import parse_manifest
from kgated_edge.format.tflite_file import (
    MANIFEST_NAME,
    NO_DIGEST,
    digest_span,
    file_digest,
    metadata_span,
)

from kgated.deploy.tflite.flatbuffer import (
    add_buffer,
    pack,
    parse,
    scale_and_zero_point,
    signature,
    type_name,
)

SPARE_BYTES = 32  # a number in another manifest may be that much longer


def embed(model: schema.ModelT, manifest: Manifest, spare: int = 0) -> bytes:
    """Put a manifest into a `.tflite` file, in place of the one that it may have.

    Signatures, tensors and other metadata stay as they are, and the file computes the same.

    Args:
        model: the file, to which the manifest is added.
        manifest: its `file_sha256` is ignored; the digest of the new file takes its place.
        spare: bytes of blank space after the manifest, for `overwrite`.

    Returns:
        the new file.

    Raises:
        ManifestError: the manifest breaks a rule of its own format.
    """
    text = _unsigned_text(manifest)
    _remove_manifest(model)
    _add_manifest(model, text + b" " * spare)
    return _sign(pack(model))


def overwrite(content: bytes, manifest: Manifest) -> bytes:
    """The file with another manifest in the place of its own, nothing else moved.

    Args:
        content: a file from `embed`.
        manifest: no longer than the old one and its spare bytes.

    Raises:
        ManifestError: the manifest breaks a rule of its own format.
        ValueError: it is too long.
    """
    start, end = _span(content)
    text = _unsigned_text(manifest)
    if len(text) > end - start:
        raise ValueError(f"a manifest of {len(text)} bytes does not fit into {end - start}")
    return _sign(content[:start] + text.ljust(end - start) + content[end:])


def manifest_of(model: schema.ModelT) -> Manifest:
    """The manifest of a parsed file.

    Raises:
        ManifestError: it breaks a rule of its own format.
    """
    entry = next(entry for entry in model.metadata if entry.name == MANIFEST_NAME)
    return parse_manifest(bytes(model.buffers[entry.buffer].data))


def manifest_in(content: bytes) -> Manifest:
    """The manifest of a file from `embed`.

    Raises:
        ManifestError: it breaks a rule of its own format.
    """
    start, end = _span(content)
    return parse_manifest(content[start:end])


def without_manifest(content: bytes) -> bytes:
    """The file as it was before `embed`."""
    model = parse(content)
    _remove_manifest(model)
    return pack(model)


def as_stored(manifest: Manifest, model: schema.ModelT) -> Manifest:
    """The manifest with dtypes, scales and zero points of its tensors as the file has them."""
    inputs, outputs = signature(model)
    frames, states = (_stored(specs, inputs) for specs in (manifest.frames, manifest.states))
    return replace(
        manifest, frames=frames, states=states, outputs=_stored(manifest.outputs, outputs)
    )


def _unsigned_text(manifest: Manifest) -> bytes:
    text = replace(manifest, file_sha256=NO_DIGEST).to_json()
    parse_manifest(text)
    return text.encode()


def _span(content: bytes) -> tuple[int, int]:
    span = metadata_span(content, MANIFEST_NAME)
    assert span is not None, "`embed` wrote the metadata entry"
    return span


def _stored(
    specs: Iterable[TensorSpec], tensors: Mapping[str, schema.TensorT]
) -> tuple[TensorSpec, ...]:
    stored = []
    for spec in specs:
        tensor = tensors[spec.name]
        scale, zero_point = scale_and_zero_point(tensor) or (None, None)
        dtype = type_name(tensor)
        stored.append(replace(spec, dtype=dtype, scale=scale, zero_point=zero_point))
    return tuple(stored)


def _remove_manifest(model: schema.ModelT) -> None:
    """Remove the manifest's metadata entry and its buffer, where there is one."""
    entry = next((entry for entry in model.metadata or [] if entry.name == MANIFEST_NAME), None)
    if entry is None:
        return
    model.metadata.remove(entry)
    del model.buffers[entry.buffer]
    for holder in (*model.metadata, *(t for graph in model.subgraphs for t in graph.tensors)):
        holder.buffer -= holder.buffer > entry.buffer


def _add_manifest(model: schema.ModelT, text: bytes) -> None:
    entry = schema.MetadataT(name=MANIFEST_NAME, buffer=add_buffer(model, text))
    model.metadata = [*(model.metadata or []), entry]


def _sign(content: bytes) -> bytes:
    """The file with its own digest in place of the zeros."""
    first, last = digest_span(content, *_span(content))
    digest = file_digest(content, first, last).encode()
    return content[:first] + digest + content[last:]
