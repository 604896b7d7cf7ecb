"""Synthetic speech by espeak-ng."""

import atexit
import contextlib
import json
import queue
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO

import numpy as np

from kgated.demos.espeak_worker import HEADER

COMMAND = "espeak-ng"
RATE = 22_050  # espeak-ng's
_WORKER = Path(__file__).with_name("espeak_worker.py")


@dataclass(frozen=True)
class Voice:
    """A speaker.

    Attributes:
        name: of espeak-ng, such as "en-us+f2": an accent and a variant.
        pitch: 0 to 99.
        words_per_minute: speed.
    """

    name: str
    pitch: int = 50
    words_per_minute: int = 160


def require_espeak() -> None:
    """Refuse to begin without espeak-ng.

    Raises:
        FileNotFoundError: it is not installed; the message says how to install it.
    """
    if shutil.which(COMMAND) is None:
        raise FileNotFoundError(
            f"{COMMAND} is not installed, and the keyword demo makes its speech with it: "
            "sudo apt install espeak-ng"
        )


def speak(text: str, voice: Voice) -> np.ndarray:
    """What a voice says: samples (n,) float32 in -1..1 at `RATE`, without silence at the ends.

    The sound is that of the command espeak-ng. It may be called from several threads; each call
    that runs at the same time has a process of its own, which later calls use again.

    Raises:
        RuntimeError: espeak-ng failed; the message has its words.
    """
    return speak_all((text,), voice)[0]


def speak_all(texts: tuple[str, ...], voice: Voice) -> list[np.ndarray]:
    """What a voice says, each text as by `speak`, in a fraction of the time.

    The second text and later ones differ from those of `speak` in the phase of their waves, because
    the voice goes on.

    Raises:
        RuntimeError: espeak-ng failed; the message has its words.
    """
    with _worker() as worker:
        content = worker.speak(texts, voice)
    return [_trimmed(np.frombuffer(sound, "<i2").astype(np.float32) / 32768) for sound in content]


def _trimmed(samples: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


class _Worker:
    """A process of `espeak_worker`."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", str(_WORKER)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self.close)

    def speak(self, texts: tuple[str, ...], voice: Voice) -> list[bytes]:
        """Samples int16 of each text."""
        request = json.dumps([texts, voice.name, voice.pitch, voice.words_per_minute])
        requests, answers = self._pipes()
        with contextlib.suppress(BrokenPipeError):
            requests.write(request.encode() + b"\n")
            requests.flush()
        header = answers.read(HEADER.size)
        if len(header) < HEADER.size:
            raise RuntimeError(f"{COMMAND} failed: its process ended with {self.process.wait()}")
        size, succeeded = HEADER.unpack(header)
        content = answers.read(size)
        if not succeeded:
            raise RuntimeError(f"{COMMAND} failed: {content.decode()}")
        sizes = struct.unpack(f"<{len(texts)}I", answers.read(4 * len(texts)))
        ends = accumulate(sizes)
        return [content[end - size : end] for size, end in zip(sizes, ends, strict=True)]

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def close(self) -> None:
        """End the process."""
        for pipe in self._pipes():
            with contextlib.suppress(OSError):
                pipe.close()
        self.process.wait()


_idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()


@contextlib.contextmanager
def _worker() -> Iterator[_Worker]:
    """An idle process, or a new one; one that has ended is not used again."""
    try:
        worker = _idle.get_nowait()
    except queue.Empty:
        worker = _Worker()
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            _idle.put(worker)
