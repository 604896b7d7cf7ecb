"""Reads a manifest out of a file: parses the JSON and checks every field, alone and together."""

import json
from pathlib import Path

from kgated_edge.errors import ManifestError
from kgated_edge.format.event_settings import EventSettings
from kgated_edge.format.feature_statistics import FeatureStatistics
from kgated_edge.format.front_end import check_feature_names, check_front_end, read_front_end
from kgated_edge.format.intervals import Intervals
from kgated_edge.format.json_fields import Fields
from kgated_edge.format.manifest import (
    DEFAULT_THRESHOLD,
    FORMAT_VERSION,
    SIGNATURES,
    Manifest,
    ModelInfo,
)
from kgated_edge.format.tensor_spec import Golden, TensorSpec
from kgated_edge.format.tflite_file import read_verified
from kgated_edge.format.verified_file import ModelPath, VerifiedFile
from kgated_edge.format.vocabulary import read_vocabularies

_HEX = frozenset("0123456789abcdef")


def read_manifest(path: ModelPath) -> Manifest:
    """Reads the manifest of a `.tflite` file; raises as `read_model`."""
    return read_model(path)[1]


def read_model(path: ModelPath) -> tuple[bytes, Manifest]:
    """Reads a `.tflite` file once, checks its digest, then parses its manifest.

    Returns:
        the bytes that the digest was checked on, and the manifest in them.

    Raises:
        ManifestError: the file is missing, a directory, empty, not TFLite, cut short, without a
            manifest, changed since it was written, of a newer format, or breaks a field's rule.
    """
    if isinstance(path, VerifiedFile):
        return path.content, path.manifest
    try:
        content, text = read_verified(Path(path))
        return content, parse_manifest(text)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from None


def parse_manifest(text: str | bytes) -> Manifest:
    """Parses and validates a manifest.

    Raises:
        ManifestError: not JSON, a newer format version, or a field breaks its rule.
    """
    items = Fields(_parse(text))
    _check_version(items.integer("format_version", 1))
    frames, outputs = _specs(items, "frames"), _specs(items, "outputs")
    manifest = Manifest(
        mode=items.choice("mode", tuple(SIGNATURES)),
        signature=items.text("signature"),
        recipe=items.mapping("recipe"),
        frames=frames,
        frames_per_step=items.integer("frames_per_step", 1),
        outputs=outputs,
        state=items.choice("state", ("external", "internal")),
        states=_specs(items, "states"),
        labels=items.optional("labels", items.texts),
        sample_period_s=items.optional("sample_period_s", items.positive),
        model=_model(items.nested("model")),
        tools=_tools(items.nested("tools")),
        golden=Golden.read(items.nested("golden"), frames, outputs),
        file_sha256=_digest(items, "file_sha256"),
        each_frame=items.flag("each_frame"),
        padded=items.flag("padded"),
        single=items.texts("single") if "single" in items else (),
        batch=items.integer("batch", 1) if "batch" in items else 1,
        figures=_figures(items),
        events=EventSettings.read(items.nested("events")) if "events" in items else None,
        intervals=_intervals(items, outputs),
        feature_statistics=_statistics(items, frames),
        feature_names=items.texts("feature_names") if "feature_names" in items else None,
        front_end=read_front_end(items.nested("front_end")) if "front_end" in items else None,
        threshold=items.finite("threshold") if "threshold" in items else DEFAULT_THRESHOLD,
        vocabularies=read_vocabularies(items, {x.name: x.vocabulary for x in frames}),
        results_per_step=items.integer("results_per_step", 1) if "results_per_step" in items else 1,
        sessions=_sessions(items),
    )
    _check_consistency(items, manifest)
    return manifest


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


def _specs(items: Fields, key: str) -> tuple[TensorSpec, ...]:
    entries = items.array(key)
    return tuple(TensorSpec.read(Fields(entry, f"{key}[{n}]")) for n, entry in enumerate(entries))


def _model(items: Fields) -> ModelInfo:
    return ModelInfo(items.text("name"), _digest(items, "sha256"), items.integer("parameters", 0))


def _figures(items: Fields) -> dict[str, float]:
    """Older files do not have this field."""
    if "figures" not in items:
        return {}
    figures = items.nested("figures")
    return {name: figures.finite(name) for name in figures}


def _intervals(items: Fields, outputs: tuple[TensorSpec, ...]) -> Intervals | None:
    if "intervals" not in items:
        return None
    intervals = Intervals.read(items.nested("intervals"))
    if len(intervals.half_widths) != outputs[0].size:
        rule = f"{outputs[0].size} numbers, one per element of the first output"
        raise items.nested("intervals").wrong("half_widths", rule)
    return intervals


def _sessions(items: Fields) -> tuple[int, ...]:
    if "sessions" not in items:
        return ()
    sizes = tuple(n for n in items.array("sessions") if type(n) is int and n > 1)
    if list(sizes) != items.array("sessions") or list(sizes) != sorted(set(sizes)):
        raise items.wrong("sessions", "ascending integers above 1")
    return sizes


def _statistics(items: Fields, frames: tuple[TensorSpec, ...]) -> dict[str, FeatureStatistics]:
    if "feature_statistics" not in items:
        return {}
    entries = items.nested("feature_statistics")
    sizes = {frame.name: frame.size for frame in frames}
    for name in entries:
        if name not in sizes:
            raise items.wrong("feature_statistics", f"for inputs among {sorted(sizes)}")
    return {name: FeatureStatistics.read(entries.nested(name), sizes[name]) for name in entries}


def _tools(items: Fields) -> dict[str, str]:
    return {name: items.text(name) for name in items}


def _digest(items: Fields, key: str) -> str:
    value = items.text(key)
    if len(value) != 64 or not _HEX.issuperset(value):
        raise items.wrong(key, "64 hex digits")
    return value


def _check_consistency(items: Fields, manifest: Manifest) -> None:
    """Checks the rules that involve several fields."""
    if manifest.signature != SIGNATURES[manifest.mode]:
        raise items.wrong("signature", f"'{SIGNATURES[manifest.mode]}'")
    if not manifest.frames or not all(_is_frame(manifest, spec) for spec in manifest.frames):
        raise items.wrong("frames", "float32 of one axis or more, or an int32 token, at least one")
    if not manifest.outputs or not all(spec.is_real for spec in manifest.results):
        raise items.wrong("outputs", "float32 of one axis or more, and so must be the states")
    for key, specs in (("frames", manifest.inputs), ("outputs", manifest.results)):
        if len({spec.name for spec in specs}) != len(specs):
            raise items.wrong(key, "of different names, also from those of the states")
    if manifest.mode == "stream" and (manifest.each_frame or manifest.padded or manifest.single):
        raise items.wrong("each_frame", 'false in mode "stream", `padded` too, and `single` empty')
    if manifest.mode == "sequence" and not any(map(manifest.is_timed, manifest.frames)):
        raise items.wrong("single", "without one of the inputs: a sequence has frames")
    if manifest.mode == "sequence" and (manifest.state, manifest.states) != ("external", ()):
        raise items.wrong("states", 'empty and `state` "external" in mode "sequence"')
    if manifest.state == "internal" and manifest.states:
        raise items.wrong("states", 'empty with "state": "internal"')
    results = manifest.results_per_step
    if results > 1 and (manifest.mode != "stream" or manifest.frames_per_step % results):
        raise items.wrong("results_per_step", "1, or in a stream a divisor of `frames_per_step`")
    has_steps = (manifest.mode, manifest.state, manifest.batch) == ("stream", "external", 1)
    if manifest.sessions and not has_steps:
        raise items.wrong("sessions", "empty but for a stream with external state and a batch of 1")
    first = manifest.outputs[0]
    names = None if manifest.labels is None or manifest.is_binary else len(manifest.labels)
    if names not in (None, first.shape[-1]):
        raise items.wrong("labels", f"{first.shape[-1]} names, one per output")
    check_feature_names(items, manifest.feature_names, manifest.frames[0].size)
    shapes = [frame.shape for frame in manifest.frames]
    check_front_end(items, manifest.front_end, shapes, manifest.sample_period_s)
    if manifest.threshold != DEFAULT_THRESHOLD and first.size != 1:
        raise items.wrong("threshold", f"{DEFAULT_THRESHOLD}, but for a first output of one number")
    _check_golden(items, manifest)


def _check_golden(items: Fields, manifest: Manifest) -> None:
    if manifest.mode == "sequence":
        return _check_golden_sequence(items, manifest)
    golden, size = manifest.golden, manifest.frames_per_step
    steps = {len(array) for array in golden.outputs.values()}
    each = manifest.frames_per_result
    frames = {len(array) for array in golden.frames.values()}
    (count,) = frames if len(frames) == 1 else (0,)
    if count % size or len(steps) != 1 or not 0 < max(steps) <= count // each:
        rule = "one per step of the golden frames, or the last of them"
        raise items.nested("golden").wrong("outputs", rule)


def _check_golden_sequence(items: Fields, manifest: Manifest) -> None:
    golden, size = manifest.golden, manifest.frames_per_step
    counts = {spec.name: len(golden.frames[spec.name]) for spec in manifest.frames}
    frames = {counts[spec.name] for spec in manifest.frames if manifest.is_timed(spec)}
    results = max(frames) if manifest.padded else size
    single = {counts[spec.name] for spec in manifest.frames if not manifest.is_timed(spec)} - {1}
    is_valid = len(frames) == 1 and 0 < max(frames) <= size and not single
    for spec in manifest.outputs:
        maximum = results if manifest.is_timed(spec) else 1
        is_valid &= 0 < len(golden.outputs[spec.name]) <= maximum
    if not is_valid:
        rule = f"the last of {results}, of at most {size} golden frames"
        raise items.nested("golden").wrong("outputs", rule)


def _is_frame(manifest: Manifest, spec: TensorSpec) -> bool:
    tokens = spec.name in manifest.single and spec.dtype == "int32" and spec.vocabulary is not None
    return spec.is_real or spec.is_token or tokens
