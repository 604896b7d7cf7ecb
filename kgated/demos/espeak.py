"""Synthetic speech by espeak-ng."""

import io
import shutil
import subprocess
import wave
from dataclasses import dataclass
from functools import cache

import numpy as np

COMMAND = "espeak-ng"
RATE = 22_050  # espeak-ng's


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


@cache
def speak(text: str, voice: Voice) -> np.ndarray:
    """What a voice says: samples (n,) float32 in -1..1 at `RATE`, without silence at the ends.

    Raises:
        RuntimeError: espeak-ng failed; the message has its words.
    """
    options = ["-v", voice.name, "-p", str(voice.pitch), "-s", str(voice.words_per_minute)]
    run = subprocess.run([COMMAND, *options, "--stdout", text], capture_output=True, check=False)
    if run.returncode or not run.stdout:
        raise RuntimeError(f"{COMMAND} failed: {run.stderr.decode(errors='replace').strip()}")
    with wave.open(io.BytesIO(run.stdout)) as file:
        content = file.readframes(file.getnframes())
    samples = np.frombuffer(content, "<i2").astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples
