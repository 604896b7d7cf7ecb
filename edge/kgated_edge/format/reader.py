"""What the fields of a manifest have to be to one another."""

from typing import TYPE_CHECKING

from kgated_edge.format.json_fields import Fields
from kgated_edge.format.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from kgated_edge.format.manifest import Manifest

SIGNATURES = {"stream": "step", "sequence": "serve"}


def check_together(items: Fields, manifest: "Manifest") -> None:
    """Checks the rules that no field shows alone.

    Raises:
        ManifestError: one is broken.
    """
    if manifest.signature != SIGNATURES[manifest.mode]:
        raise items.wrong("signature", f"'{SIGNATURES[manifest.mode]}'")
    if not manifest.frames or not all(_is_frame(manifest, one) for one in manifest.frames):
        raise items.wrong("frames", "float32 of one axis or more, or an int32 token, at least one")
    if not manifest.outputs or not all(one.is_real for one in manifest.results):
        raise items.wrong("outputs", "float32 of one axis or more, and so must be the states")
    for key, specs in (("frames", manifest.inputs), ("outputs", manifest.results)):
        if len({spec.name for spec in specs}) != len(specs):
            raise items.wrong(key, "of different names, and those of the states others again")
    if manifest.mode == "stream" and (manifest.each_frame or manifest.padded or manifest.single):
        raise items.wrong("each_frame", 'false in mode "stream", `padded` too, and `single` empty')
    if manifest.mode == "sequence" and not any(map(manifest.is_timed, manifest.frames)):
        raise items.wrong("single", "without one of the inputs: a sequence has frames")
    if manifest.mode == "sequence" and (manifest.state, manifest.states) != ("external", ()):
        raise items.wrong("states", 'empty and `state` "external" in mode "sequence"')
    if manifest.state == "internal" and manifest.states:
        raise items.wrong("states", 'empty with "state": "internal"')
    first = manifest.outputs[0]
    if manifest.labels is not None and len(manifest.labels) != first.shape[-1]:
        raise items.wrong("labels", f"{first.shape[-1]} names, one per output")
    _check_golden(items, manifest)


def _check_golden(items: Fields, manifest: "Manifest") -> None:
    if manifest.mode == "sequence":
        return _check_golden_sequence(items, manifest)
    golden, size = manifest.golden, manifest.frames_per_step
    steps = {len(array) for array in golden.outputs.values()}
    frames = {len(array) for array in golden.frames.values()}
    (most,) = frames if len(frames) == 1 else (0,)
    if most % size or len(steps) != 1 or not 0 < max(steps) <= most // size:
        rule = "as many as the golden frames make steps, or the last of them"
        raise items.nested("golden").wrong("outputs", rule)


def _check_golden_sequence(items: Fields, manifest: "Manifest") -> None:
    golden, size = manifest.golden, manifest.frames_per_step
    counts = {one.name: len(golden.frames[one.name]) for one in manifest.frames}
    frames = {counts[one.name] for one in manifest.frames if manifest.is_timed(one)}
    results = max(frames) if manifest.padded else size
    single = {counts[one.name] for one in manifest.frames if not manifest.is_timed(one)} - {1}
    right = len(frames) == 1 and 0 < max(frames) <= size and not single
    for one in manifest.outputs:
        most = results if manifest.is_timed(one) else 1
        right &= 0 < len(golden.outputs[one.name]) <= most
    if not right:
        rule = f"the last of {results}, of at most {size} golden frames"
        raise items.nested("golden").wrong("outputs", rule)


def _is_frame(manifest: "Manifest", spec: TensorSpec) -> bool:
    tokens = spec.name in manifest.single and spec.dtype == "int32" and spec.vocabulary is not None
    return spec.is_real or spec.is_token or tokens
