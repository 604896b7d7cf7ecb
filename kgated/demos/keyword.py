"""`kgated demo --task keyword`: two wake phrases in synthetic speech with babble noise."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from kgated.data import (
    BuildOptions,
    FrontEndOptions,
    LabelOptions,
    SensorAugmentation,
    wav_to_npz,
)
from kgated.demos.espeak import require_espeak
from kgated.demos.from_files import (
    TESTING,
    TRAIN,
    TUNING,
    EventDemo,
    EventTask,
    run_event_demo,
)
from kgated.demos.speech_streams import forget_speakers, speakers, speech_stream
from kgated.demos.speech_words import GREETINGS, KEYWORDS, NAMES
from kgated.demos.streams import Labelled, Stream, write_streams, write_wav
from kgated.training import Plan

# How many streams of how many seconds, and the fraction of keywords among what is said.
_STREAMS = {TRAIN: (800, 30.0, 0.3), TUNING: (10, 300.0, 0.15), TESTING: (12, 300.0, 0.15)}
_LABEL_FROM = 0.6  # of a phrase
_TAIL_S = 0.35
NOTE = (
    'Synthetic speech by espeak-ng, not recordings of people. "hello computer" and "okay sunshine" '
    "among sentences, words, parts of these phrases, and phrases that share a part with one, with "
    "babble noise of five voices at a signal-to-noise ratio of 8 to 20 dB. The voices of the "
    "training, of the tuning and of the test differ, and so do half of the other words. The "
    "training has invented words too, many of which differ from a name by one phoneme. It has a "
    "class for each greeting and each name, for phrases that share one with a wake phrase."
)
TASK = EventTask(
    name="keyword",
    title="Wake phrases: from recordings to events (synthetic speech)",
    note=NOTE,
    units=160,
    stride=4,
    # Wide batches: a step of the loop over time costs nearly the same for 128 rows as for 32.
    plan=Plan(
        epochs=12,
        patience=12,
        batch_size=128,
        learning_rate=8e-3,
        augmentation=SensorAugmentation(jitter=0.3, scaling=0.1),
    ),
    steps=160,
    dropout=0.5,
    max_false_accepts_per_hour=200.0,
    smoothing_s=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    refractory_s=0.5,
    keep_misses=True,
)
FRONT_END = FrontEndOptions(frame_ms=32.0, hop_ms=20.0, mels=24, low_hz=80.0, high_hz=7600.0)


def keyword_demo(
    out_dir: str | Path,
    *,
    seed: int = 0,
    task: EventTask = TASK,
    scale: float = 1.0,
    console: Console | None = None,
) -> EventDemo:
    """Detects two wake phrases in synthetic speech with noise, before and after `tune`.

    Args:
        out_dir: the folder to write to.
        seed: of the streams, the weights and the order.
        task: the options of training and `tune`.
        scale: of the number of seconds in each stream.
        console: where to print; None: the terminal.

    Returns:
        The metrics on the test streams, whose voices were never trained or tuned on.

    Raises:
        FileNotFoundError: espeak-ng is not installed; the message says how to install it.
        OSError: `out_dir` can't be made or written to.
        ImportError: a package of the extra `report` is missing.
    """
    require_espeak()
    task = replace(task, plan=replace(task.plan, seed=seed))
    return run_event_demo(
        task, out_dir, lambda folder: write_speech(folder, seed, scale), make_data, console
    )


def write_speech(folder: Path, seed: int, scale: float = 1.0) -> None:
    """Writes the streams of all parts as WAV files, and their tables of events."""
    speakers()  # before the threads, each of which would make them
    for n, (part, (count, seconds, fraction)) in enumerate(_STREAMS.items()):
        stream = partial(_stream, part, seconds * scale, fraction, (seed, n))
        # The time goes into espeak-ng, NumPy and soxr, beside Python's lock.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            streams = list(threads.map(stream, range(count)))
        labels = training_labels if part == TRAIN else keywords_only
        write_streams(folder / part, [labels(stream) for stream in streams], write_wav)
        if part == TRAIN:
            forget_speakers()


def _stream(part: str, seconds: float, fraction: float, seed: tuple[int, int], k: int) -> Stream:
    """Stream number k of a part, the same in each run."""
    return speech_stream(part, seconds, fraction, np.random.default_rng((*seed, k)))


def keywords_only(stream: Stream) -> Stream:
    """A stream whose events are the wake phrases."""
    return replace(stream, events=[event for event in stream.events if event.label in KEYWORDS])


def training_labels(stream: Stream) -> Stream:
    """Labels from the second half of a phrase to a little after it, or to the next phrase.

    A model can't know a phrase from its first word; labels there would teach it to guess. What
    shares a part with a wake phrase has the label of that part.
    """
    starts = [e.start_s + _LABEL_FROM * (e.end_s - e.start_s) for e in stream.events]
    limits = [*starts[1:], len(stream.samples) / stream.rate]
    events = [
        Labelled(start_s, min(event.end_s + _TAIL_S, limit_s), label)
        for start_s, event, limit_s in zip(starts, stream.events, limits, strict=True)
        if (label := part_of(event.label)) is not None
    ]
    return replace(stream, events=events)


def part_of(text: str) -> str | None:
    """A wake phrase, a name at the end, a greeting at the beginning, or None."""
    if text in KEYWORDS:
        return text
    words = text.split()
    if words[-1] in NAMES:
        return words[-1]
    return words[0] if words[0] in GREETINGS else None


def make_data(folder: Path) -> None:
    """Makes train.npz with log-mel frames and a label per frame."""
    labels = LabelOptions(table=folder / f"{TRAIN}.csv")
    wav_to_npz(folder / TRAIN, folder / "train.npz", FRONT_END, labels, BuildOptions())
