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

from kgated.deploy.tflite.flatbuffer import pack, parse, scale_and_zero_point, signature, type_name


def embed(tflite: bytes, manifest: Manifest) -> bytes:
    """Puts a manifest into a `.tflite` file, in place of the one that it may have.

    Signatures, tensors and other metadata stay as they are, and the file computes the same.

    Args:
        tflite: the file.
        manifest: its `file_sha256` is ignored; the digest of the new file takes its place.

    Returns:
        the new file.

    Raises:
        ManifestError: the manifest breaks a rule of its own format.
    """
    text = replace(manifest, file_sha256=NO_DIGEST).to_json()
    parse_manifest(text)
    model = parse(tflite)
    _set_metadata(model, text.encode())
    return _sign(pack(model, len(tflite) + len(text)))


def as_stored(manifest: Manifest, tflite: bytes) -> Manifest:
    """The manifest with dtypes, scales and zero points of its tensors as the file has them."""
    inputs, outputs = signature(parse(tflite))
    frames, states = (_stored(specs, inputs) for specs in (manifest.frames, manifest.states))
    return replace(
        manifest, frames=frames, states=states, outputs=_stored(manifest.outputs, outputs)
    )


def _stored(
    specs: Iterable[TensorSpec], tensors: Mapping[str, schema.TensorT]
) -> tuple[TensorSpec, ...]:
    found = []
    for spec in specs:
        tensor = tensors[spec.name]
        scale, zero_point = scale_and_zero_point(tensor) or (None, None)
        dtype = type_name(tensor)
        found.append(replace(spec, dtype=dtype, scale=scale, zero_point=zero_point))
    return tuple(found)


def _set_metadata(model: schema.ModelT, text: bytes) -> None:
    """Points the manifest's metadata entry at a buffer with the text, reusing an old one's."""
    entries = model.metadata or []
    entry = next((one for one in entries if one.name == MANIFEST_NAME), None)
    if entry is None:
        entry = schema.MetadataT(name=MANIFEST_NAME, buffer=len(model.buffers))
        model.buffers.append(schema.BufferT())
        model.metadata = [*entries, entry]
    model.buffers[entry.buffer].data = text


def _sign(content: bytes) -> bytes:
    """The file with its own digest in place of the zeros."""
    span = metadata_span(content, MANIFEST_NAME)
    assert span is not None, "the metadata entry was written a moment ago"
    first, last = digest_span(content, *span)
    digest = file_digest(content, first, last).encode()
    return content[:first] + digest + content[last:]
