"""The manifest of a `.tflite` file as data: its tensors, its recipe, its golden frames.

It is stored as compact JSON in the file's metadata table, so any TFLite tool still opens the file.
`reader` parses and checks it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.format.event_settings import EventSettings
from kgated_edge.format.feature_statistics import FeatureStatistics
from kgated_edge.format.front_end import FrontEndSpec
from kgated_edge.format.intervals import Intervals
from kgated_edge.format.tensor_spec import Array, Golden, TensorSpec
from kgated_edge.format.tflite_file import NO_DIGEST
from kgated_edge.format.vocabulary import Vocabulary

__all__ = [
    "FORMAT_VERSION",
    "LENGTHS",
    "SIGNATURES",
    "Golden",
    "Manifest",
    "ModelInfo",
    "TensorSpec",
    "batched_signature",
]

FORMAT_VERSION = 1
SIGNATURES = {"stream": "step", "sequence": "serve"}
"""The signature to run, by mode."""


def batched_signature(batch: int) -> str:
    """The name of the signature for a step of `batch` sessions, such as "step_64"."""
    return SIGNATURES["stream"] if batch == 1 else f"{SIGNATURES['stream']}_{batch}"


DEFAULT_THRESHOLD = 0.5
LENGTHS = TensorSpec("lengths", (), "int32")


@dataclass(frozen=True)
class ModelInfo:
    """The float model that the file was converted from.

    Attributes:
        name: its Keras name.
        sha256: its digest, 64 hex digits.
        parameters: number of its weights.
    """

    name: str
    sha256: str
    parameters: int


@dataclass(frozen=True, eq=False)
class Manifest:
    """The description of one `.tflite` file.

    Attributes:
        mode: "stream": frame by frame; "sequence": a whole sequence per call.
        signature: name of the signature to run, "step" or "serve".
        recipe: the options of the conversion, as in {"mode": "stream", "quantize": "none"}.
        frames: one frame of each input, floats of one axis or more, or a token.
        frames_per_step: frames k per call; its tensors are (1, k, *frame.shape), and
            (1, *frame.shape) in a stream where k is 1; with a batch of B, B in place of 1.
        outputs: one result of each output; `labels` and `check` apply to the first.
        state: "external": inputs and outputs; "internal": variables of the interpreter, which the
            signature "reset" sets to zero.
        states: the external states; a state's signature input and output have the same name.
        labels: a name per entry of the first output's last axis, or None; two names for a first
            output of one number, below the threshold and from it on.
        sample_period_s: seconds between two frames, or None where unknown.
        model: the float model.
        tools: versions of the tools that made the file, by name.
        golden: frames with the expected outputs.
        file_sha256: digest of the file, 64 hex digits; filled in when the file is written.
        each_frame: for a sequence: whether its outputs have a result per frame, (1, k, *output).
        figures: metrics of the float model, by name; may be empty.
        padded: for a sequence: whether it may be shorter than k; its length is then an input
            `lengths` (1,).
        single: for a sequence: names of inputs and outputs with one value per sequence instead of
            one per frame.
        batch: how many sequences, or streams, run in parallel.
        intervals: how far targets are from the results, at most and mostly; None where unknown.
        feature_statistics: of the training or calibration data, by input; may be empty.
        events: how scores become events, as `kgated tune` chose; None where nobody did.
        feature_names: a name per feature of a frame, in the order of training, or None.
        front_end: how audio becomes frames, or None where frames do not come from audio.
        threshold: for a first output of one number: from which value on the decision is 1.
        vocabularies: by input the tokens that its ids stand for; may be empty.
        results_per_step: of a stream: results r per call, one for every k / r frames; the output
            tensors are (1, r, *output.shape), and (1, *output.shape) where r is 1.
        sessions: of a stream: for how many sessions at once the file has a signature each, such as
            "step_64", beside that for one; ascending; may be empty.
    """

    mode: str
    signature: str
    recipe: Mapping[str, object]
    frames: tuple[TensorSpec, ...]
    frames_per_step: int
    outputs: tuple[TensorSpec, ...]
    state: str
    states: tuple[TensorSpec, ...]
    labels: tuple[str, ...] | None
    sample_period_s: float | None
    model: ModelInfo
    tools: Mapping[str, str]
    golden: Golden = field(repr=False)
    file_sha256: str = NO_DIGEST
    each_frame: bool = False
    padded: bool = False
    single: tuple[str, ...] = ()
    batch: int = 1
    figures: Mapping[str, float] = field(default_factory=dict)
    events: EventSettings | None = None
    intervals: Intervals | None = None
    feature_statistics: Mapping[str, FeatureStatistics] = field(default_factory=dict, repr=False)
    feature_names: tuple[str, ...] | None = None
    front_end: FrontEndSpec | None = None
    threshold: float = DEFAULT_THRESHOLD
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict, repr=False)
    results_per_step: int = 1
    sessions: tuple[int, ...] = ()

    @property
    def frame(self) -> TensorSpec:
        """The only input's frame; `EdgeError` where there are several."""
        return _only("frame", self.frames)

    @property
    def output(self) -> TensorSpec:
        """The only output; `EdgeError` where there are several."""
        return _only("output", self.outputs)

    @property
    def blocks(self) -> tuple[TensorSpec, ...]:
        """The input tensors of one call without states; with a batch axis where it is above 1."""
        if self.mode == "sequence":
            return self._in_batch(map(self._in_time, self.frames))
        return self._in_batch(frame.block(self.frames_per_step) for frame in self.frames)

    @property
    def answers(self) -> tuple[TensorSpec, ...]:
        """The output tensors of one call without states; with a batch axis where it is above 1."""
        return self._in_batch(map(self._in_time, self.outputs))

    @property
    def carried(self) -> tuple[TensorSpec, ...]:
        """The state tensors of one call; with a batch axis where it is above 1."""
        return self._in_batch(self.states)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """All input tensors of the signature."""
        lengths = self._in_batch((LENGTHS,)) if self.padded else ()
        return (*self.blocks, *self.carried, *lengths)

    @property
    def results(self) -> tuple[TensorSpec, ...]:
        """All output tensors of the signature."""
        return (*self.answers, *self.carried)

    @property
    def is_binary(self) -> bool:
        """Whether the first output is one number that decides between two labels."""
        return self.outputs[0].size == 1 and self.labels is not None and len(self.labels) == 2

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary of the only input that has one, or None."""
        vocabularies = list(self.vocabularies.values())
        return vocabularies[0] if len(vocabularies) == 1 else None

    def for_sessions(self, batch: int) -> "Manifest":
        """The manifest of the signature for `batch` sessions, as if the file had no other one."""
        signature = batched_signature(batch)
        return replace(self, batch=batch, signature=signature, sessions=())

    def decide(self, results: Array) -> Array:
        """The decision of each result of the first output.

        Args:
            results: (..., *output.shape).

        Returns:
            (...) int64, flat per result: the place of the largest entry; for an output of one
            number 1 from the threshold on, else 0.
        """
        first = self.outputs[0]
        axes = results.ndim - len(first.shape)
        flat = results.reshape(*results.shape[:axes], first.size)
        if first.size == 1:
            return np.asarray(flat[..., 0] >= self.threshold, np.int64)
        return np.asarray(flat.argmax(-1), np.int64)

    def is_timed(self, spec: TensorSpec) -> bool:
        """Whether an input or output of a sequence model has a value per frame.

        Args:
            spec: an input or output of the file.

        Returns:
            False for a stream, and for a result after the last frame or an input per sequence.
        """
        each = self.each_frame or spec in self.frames
        return self.mode == "sequence" and each and spec.name not in self.single

    @property
    def frames_per_result(self) -> int:
        """The number of frames for each result of a stream."""
        return self.frames_per_step // self.results_per_step

    def _in_time(self, spec: TensorSpec) -> TensorSpec:
        if self.mode == "stream" and spec in self.outputs:
            return spec.block(self.results_per_step)
        return spec.rows(self.frames_per_step) if self.is_timed(spec) else spec

    def _in_batch(self, specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
        return tuple(spec.block(self.batch) for spec in specs)

    def to_json(self) -> str:
        """The manifest as compact JSON."""
        document = self._required_entries() | self._optional_entries()
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    def _required_entries(self) -> dict[str, object]:
        return {
            "format_version": FORMAT_VERSION,
            "mode": self.mode,
            "signature": self.signature,
            "recipe": dict(self.recipe),
            "frames": [frame.to_plain() for frame in self.frames],
            "frames_per_step": self.frames_per_step,
            "each_frame": self.each_frame,
            "padded": self.padded,
            "single": list(self.single),
            "batch": self.batch,
            "outputs": [output.to_plain() for output in self.outputs],
            "state": self.state,
            "states": [state.to_plain() for state in self.states],
            "labels": self.labels,
            "sample_period_s": self.sample_period_s,
            "model": asdict(self.model),
            "tools": dict(self.tools),
            "golden": self.golden.to_plain(),
            "file_sha256": self.file_sha256,
        }

    def _optional_entries(self) -> dict[str, object]:
        """The entries that a manifest has only if they differ from their default."""
        document: dict[str, object] = {}
        if self.figures:
            document["figures"] = dict(self.figures)
        if self.events is not None:
            document["events"] = self.events.to_plain()
        if self.intervals is not None:
            document["intervals"] = self.intervals.to_plain()
        if self.feature_statistics:
            statistics = {n: s.to_plain() for n, s in self.feature_statistics.items()}
            document["feature_statistics"] = statistics
        if self.feature_names is not None:
            document["feature_names"] = list(self.feature_names)
        if self.front_end is not None:
            document["front_end"] = self.front_end.to_plain()
        if self.is_binary or self.threshold != DEFAULT_THRESHOLD:
            document["threshold"] = self.threshold
        if self.vocabularies:
            plain = {name: words.to_plain() for name, words in self.vocabularies.items()}
            document["vocabularies"] = plain
        if self.results_per_step > 1:
            document["results_per_step"] = self.results_per_step
        if self.sessions:
            document["sessions"] = list(self.sessions)
        return document


def _only(what: str, specs: tuple[TensorSpec, ...]) -> TensorSpec:
    if len(specs) != 1:
        names = [spec.name for spec in specs]
        raise EdgeError(f"`{what}` is for models with one, this has {names}: use `{what}s`")
    return specs[0]
