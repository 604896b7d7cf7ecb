"""The manifest: what a `.tflite` file says about itself.

It is compact JSON in the file's own metadata table, so any TFLite tool still opens the file.
`modelfile` finds it and checks the file's digest; here it is parsed and every field validated.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kgated_edge.errors import ManifestError
from kgated_edge.fields import Fields
from kgated_edge.modelfile import NO_DIGEST, read_verified
from kgated_edge.specs import Golden, TensorSpec

__all__ = ["FORMAT_VERSION", "Golden", "Manifest", "ModelInfo", "TensorSpec", "read_manifest"]

FORMAT_VERSION = 1
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class ModelInfo:
    """The float model that the file was converted from.

    Attributes:
        name: its Keras name.
        sha256: its digest, 64 hex digits.
        parameters: how many numbers its weights hold.
    """

    name: str
    sha256: str
    parameters: int


@dataclass(frozen=True, eq=False)
class Manifest:
    """The contract of one `.tflite` file.

    Attributes:
        mode: "stream": one frame per call, state in and out.
        signature: name of the signature to run, "step".
        recipe: the choices it was converted with, as in {"mode": "stream", "quantize": "none"}.
        frame: one input frame, floats of one axis or more, or a token.
        output: one result.
        states: the state tensors; a state's signature input and output have the same name.
        labels: a name per entry of the output's last axis, or None.
        sample_period_s: seconds between two frames, or None where it is not known.
        model: the float model.
        tools: versions that made the file, by name.
        golden: frames with the outputs expected of them.
        file_sha256: digest of the file, 64 hex digits; filled in when the file is written.
    """

    mode: str
    signature: str
    recipe: Mapping[str, object]
    frame: TensorSpec
    output: TensorSpec
    states: tuple[TensorSpec, ...]
    labels: tuple[str, ...] | None
    sample_period_s: float | None
    model: ModelInfo
    tools: Mapping[str, str]
    golden: Golden
    file_sha256: str = NO_DIGEST

    def to_json(self) -> str:
        """The manifest as compact JSON."""
        document = {
            "format_version": FORMAT_VERSION,
            "mode": self.mode,
            "signature": self.signature,
            "recipe": dict(self.recipe),
            "frame": self.frame.to_plain(),
            "output": self.output.to_plain(),
            "states": [state.to_plain() for state in self.states],
            "labels": self.labels,
            "sample_period_s": self.sample_period_s,
            "model": asdict(self.model),
            "tools": dict(self.tools),
            "golden": self.golden.to_plain(),
            "file_sha256": self.file_sha256,
        }
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Parses and validates a manifest.

        Raises:
            ManifestError: not JSON, a format version of the future, or a field breaks its rule.
        """
        items = Fields(_parse(text))
        _check_version(items.integer("format_version", 1))
        frame = TensorSpec.read(items.nested("frame"))
        output = TensorSpec.read(items.nested("output"))
        manifest = cls(
            mode=items.choice("mode", ("stream",)),
            signature=items.choice("signature", ("step",)),
            recipe=items.mapping("recipe"),
            frame=frame,
            output=output,
            states=_states(items),
            labels=items.optional("labels", items.texts),
            sample_period_s=items.optional("sample_period_s", items.positive),
            model=_model(items.nested("model")),
            tools=_tools(items.nested("tools")),
            golden=Golden.read(items.nested("golden"), frame, output),
            file_sha256=_digest(items, "file_sha256"),
        )
        _check_together(items, manifest)
        return manifest


def read_manifest(path: str | Path) -> Manifest:
    """Reads the manifest of a `.tflite` file; raises as `read_model`."""
    return read_model(path)[1]


def read_model(path: str | Path) -> tuple[bytes, Manifest]:
    """Reads a `.tflite` file once, checks its digest, then parses its manifest.

    Returns:
        the file's bytes, the very ones that the digest was checked on, and its manifest.

    Raises:
        ManifestError: the file is missing, a directory, empty, not TFLite, cut short, without a
            manifest, changed since it was written, of a newer format, or breaks a field's rule.
    """
    try:
        content, text = read_verified(Path(path))
        return content, Manifest.from_json(text)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from None


def _parse(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"its manifest is not JSON ({error}): convert it again") from None


def _check_version(version: int) -> None:
    if version > FORMAT_VERSION:
        raise ManifestError(
            f"its manifest has format {version}, this version reads {FORMAT_VERSION}: "
            "update kgated-edge"
        )


def _states(items: Fields) -> tuple[TensorSpec, ...]:
    entries = items.array("states")
    return tuple(TensorSpec.read(Fields(one, f"states[{n}]")) for n, one in enumerate(entries))


def _model(items: Fields) -> ModelInfo:
    return ModelInfo(items.text("name"), _digest(items, "sha256"), items.integer("parameters", 0))


def _tools(items: Fields) -> dict[str, str]:
    return {name: items.text(name) for name in items}


def _digest(items: Fields, key: str) -> str:
    value = items.text(key)
    if len(value) != 64 or not _HEX.issuperset(value):
        raise items.wrong(key, "64 hex digits")
    return value


def _check_together(items: Fields, manifest: Manifest) -> None:
    """The rules that no field shows alone."""
    if not (manifest.frame.is_real or manifest.frame.is_token):
        raise items.wrong("frame", "float32 of one axis or more, or an int32 token")
    if not (manifest.output.is_real and all(state.is_real for state in manifest.states)):
        raise items.wrong("output", "float32 of one axis or more, and so must be the states")
    states = {state.name for state in manifest.states}
    if len(states) != len(manifest.states) or {manifest.frame.name, manifest.output.name} & states:
        raise items.wrong("states", "of different names, none the frame's or the output's")
    if manifest.labels is not None and len(manifest.labels) != manifest.output.shape[-1]:
        raise items.wrong("labels", f"{manifest.output.shape[-1]} names, one per output")
