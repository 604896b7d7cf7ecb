"""Writing a manifest into a `.tflite` file changes nothing else in it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from kgated_edge import EdgeModel, ManifestError, read_manifest

from kgated.deploy.manifest_writer import embed as embed_in_model
from kgated.deploy.manifest_writer import overwrite, without_manifest
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.flatbuffer import parse

SPEECH = Path(__file__).parents[1] / "edge" / "fixtures" / "speech.tflite"
NAME = b"kgated_manifest"


@pytest.fixture
def manifest():
    return read_manifest(SPEECH)


@pytest.fixture
def bare():
    """The file as the converter made it: no manifest, packed by the schema's own writer."""
    model = unpack(SPEECH.read_bytes())
    (manifest_entry,) = [entry for entry in model.metadata if entry.name == NAME]
    model.metadata.remove(manifest_entry)
    model.buffers[manifest_entry.buffer].data = None
    assert model.metadata, "nothing else is there to be preserved"
    return pack(model)


def embed(content, manifest, **options):
    return embed_in_model(parse(content), manifest, **options)


def unpack(content):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))


def pack(model):
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def offsets(content):
    """Where the data of each buffer that has any starts in the file."""
    model = schema.Model.GetRootAs(content)
    tables = [model.Buffers(n)._tab for n in range(model.BuffersLength())]
    places = [table.Vector(table.Offset(4)) for table in tables if table.Offset(4)]
    return [place for place in places if place < len(content)]


def entries(content):
    model = unpack(content)
    return {entry.name: bytes(model.buffers[entry.buffer].data) for entry in model.metadata}


def signature(content):
    """The signature as plain data."""
    (definition,) = unpack(content).signatureDefs
    maps = [
        [(tensor.name, tensor.tensorIndex) for tensor in side]
        for side in (definition.inputs, definition.outputs)
    ]
    return definition.signatureKey, definition.subgraphIndex, maps


def outputs(content, frames):
    """All outputs of the signature over the frames, from zero state, by the plain interpreter."""
    runner = Interpreter(model_content=content, num_threads=1).get_signature_runner("step")
    state = {name: np.zeros((1, 4), np.float32) for name in ("lstm_h", "lstm_c")}
    results = []
    for frame in frames:
        result = runner(frame=frame[None], **state)
        state = {name: result[name] for name in state}
        results.append(np.concatenate([result[name][0] for name in sorted(result)]))
    return np.array(results)


@pytest.fixture
def frames():
    return np.random.default_rng(8).normal(size=(50, 3)).astype(np.float32)


def test_the_same_manifest_is_read_back(bare, manifest, tmp_path):
    path = tmp_path / "new.tflite"
    path.write_bytes(embed(bare, manifest))
    again = read_manifest(path)
    assert replace(again, file_sha256="").to_json() == replace(manifest, file_sha256="").to_json()
    assert EdgeModel(path).run(manifest.golden.frames["frame"]).shape == (6, 2)


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place(bare, manifest, tmp_path):
    content = embed(bare, manifest)
    place = content.index(b'"file_sha256":"') + len(b'"file_sha256":"')
    zeroed = content[:place] + b"0" * 64 + content[place + 64 :]
    assert content[place : place + 64].decode() == hashlib.sha256(zeroed).hexdigest()


def test_every_buffer_is_aligned(bare, manifest):
    places = offsets(embed(bare, manifest))
    assert len(places) > 4
    assert [place % 16 for place in places] == [0] * len(places)


def test_the_alignment_test_can_fail(bare):
    """The schema's own writer does not align: this is why `embed` does."""
    assert any(place % 16 for place in offsets(bare))


def test_outputs_are_the_same_to_the_bit(bare, manifest, frames):
    content = embed(bare, manifest)
    before = outputs(bare, frames)
    assert np.array_equal(outputs(content, frames), before)
    assert not np.array_equal(outputs(content, frames + 1), before)


def test_all_else_is_preserved(bare, manifest):
    content = embed(bare, manifest)
    assert signature(content) == signature(bare)
    metadata = entries(content)
    assert metadata.pop(NAME).startswith(b'{"format_version":1,')
    assert metadata == entries(bare)
    before, after = unpack(bare), unpack(content)
    assert (after.version, after.description) == (before.version, before.description)
    for old, new in zip(before.buffers, after.buffers, strict=False):
        assert (old.data is None) == (new.data is None)
        assert old.data is None or bytes(old.data) == bytes(new.data)
    tensors = [
        [(tensor.name, list(tensor.shape)) for tensor in m.subgraphs[0].tensors]
        for m in (before, after)
    ]
    assert tensors[0] == tensors[1]


def test_a_second_manifest_replaces_the_first(bare, manifest):
    first = embed(bare, manifest)
    second = embed(first, replace(manifest, labels=("ja", "nein")))
    assert b'"labels":["ja","nein"]' in second
    assert b'"labels":["yes","no"]' not in second
    assert len(unpack(second).metadata) == len(unpack(first).metadata)
    assert len(unpack(second).buffers) == len(unpack(first).buffers)
    assert embed(second, manifest) == first


def test_labels_of_any_script(bare, manifest, tmp_path):
    labels = ("はい", '"file_sha256":"')
    path = tmp_path / "new.tflite"
    path.write_bytes(embed(bare, replace(manifest, labels=labels)))
    assert read_manifest(path).labels == labels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("one",)}, "`labels` must be 2 names"),
        ({"mode": "other"}, "`mode` must be 'stream' or 'sequence'"),
        ({"sample_period_s": -1.0}, "`sample_period_s`"),
        ({"tools": {"keras": ""}}, "`tools.keras`"),
    ],
)
def test_a_bad_manifest_is_not_written(bare, manifest, change, message):
    with pytest.raises(ManifestError, match=message):
        embed(bare, replace(manifest, **change))


def with_weights_behind(content):
    """The same file with the data of every buffer behind the FlatBuffer, as quantizers write it."""
    model, data = unpack(content), {}
    for number, buffer in enumerate(model.buffers):
        if buffer.data is not None and number:
            data[number], buffer.data = bytes(buffer.data), None
            buffer.offset = buffer.size = 1  # to be there, for the place that they take
    file = bytearray(pack(model))
    for number, weights in data.items():
        file += bytes(-len(file) % 16)
        model.buffers[number].offset, model.buffers[number].size = len(file), len(weights)
        file += weights
    front = pack(model)
    return front + bytes(file[len(front) :])


def test_weights_behind_the_flatbuffer_come_inside(bare, manifest, frames):
    behind = with_weights_behind(bare)
    assert sum(buffer.offset > 0 for buffer in unpack(behind).buffers) > 4
    assert not any(buffer.offset for buffer in parse(behind).buffers)
    content = embed(behind, manifest)
    assert np.array_equal(outputs(content, frames), outputs(bare, frames))
    assert all(buffer.offset == 0 for buffer in unpack(content).buffers)
    with pytest.raises(ValueError, match="cut short"):
        embed(behind[:-1], manifest)


def test_a_manifest_is_overwritten_in_place(bare, manifest, tmp_path):
    content = embed(bare, manifest, spare=8)
    longer = replace(manifest, labels=("yes!", "never"))
    path = tmp_path / "new.tflite"
    path.write_bytes(overwrite(content, longer))
    assert read_manifest(path).labels == ("yes!", "never")
    assert path.stat().st_size == len(content)
    with pytest.raises(ValueError, match="does not fit"):
        overwrite(content, replace(manifest, labels=("yes!", "never, ever")))


def test_without_its_manifest_a_file_is_as_it_was(bare, manifest):
    assert unpack(without_manifest(embed(bare, manifest))).metadata[0].name != NAME
    assert without_manifest(embed(bare, manifest)) == flatbuffer.pack(parse(bare))
