"""Writes the manifest into a `.tflite` file; `kgated_edge.manifest` defines and reads it."""

from dataclasses import replace

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from kgated_edge.container import metadata_span
from kgated_edge.manifest import Manifest
from kgated_edge.modelfile import MANIFEST_NAME, NO_DIGEST, digest_span, file_digest

_DATA_ALIGNMENT = 16


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
        ValueError: the file keeps its weights behind the FlatBuffer, as files over 2 GB do.
    """
    text = replace(manifest, file_sha256=NO_DIGEST).to_json()
    Manifest.from_json(text)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite))
    _set_metadata(model, text.encode())
    model.buffers = [_AlignedBuffer(buffer) for buffer in model.buffers]
    return _sign(_pack(model, len(tflite) + len(text)))


class _AlignedBuffer(schema.BufferT):
    """A buffer whose data starts at a multiple of 16 bytes.

    The schema demands that (`force_align: 16`); the generated Python writer leaves it out, and
    kernels that load whole vectors then read unaligned weights.
    """

    def __init__(self, buffer: schema.BufferT) -> None:
        if buffer.offset > 1:
            raise ValueError("`tflite` keeps its weights outside the FlatBuffer: split the model")
        super().__init__(None if buffer.data is None else bytes(buffer.data))

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - the schema's own name
        data = None if self.data is None else self._pack_data(builder)
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))

    def _pack_data(self, builder: flatbuffers.Builder) -> int:
        size = len(self.data)
        builder.StartVector(1, size, _DATA_ALIGNMENT)
        builder.head -= size
        builder.Bytes[builder.head : builder.head + size] = self.data
        return int(builder.EndVector())


def _set_metadata(model: schema.ModelT, text: bytes) -> None:
    """Points the manifest's metadata entry at a buffer with the text, reusing an old one's."""
    entries = model.metadata or []
    entry = next((one for one in entries if one.name == MANIFEST_NAME), None)
    if entry is None:
        entry = schema.MetadataT(name=MANIFEST_NAME, buffer=len(model.buffers))
        model.buffers.append(schema.BufferT())
        model.metadata = [*entries, entry]
    model.buffers[entry.buffer].data = text


def _pack(model: schema.ModelT, size: int) -> bytes:
    builder = flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _sign(content: bytes) -> bytes:
    """The file with its own digest in place of the zeros."""
    span = metadata_span(content, MANIFEST_NAME)
    assert span is not None, "the metadata entry was written a moment ago"
    first, last = digest_span(content, *span)
    digest = file_digest(content, first, last).encode()
    return content[:first] + digest + content[last:]
