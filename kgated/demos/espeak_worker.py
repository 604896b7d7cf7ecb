"""A process that speaks with espeak-ng's library: run as a script, it imports no kgated.

The command espeak-ng takes 10 ms to start, several times as long as it speaks a word. The library
is loaded once here. It keeps settings from one voice to the next, so each request is answered by a
fork. The first text of a request sounds exactly as by the command.

A request is a line of JSON, [texts, voice, pitch, words per minute]. An answer is eight bytes, the
number n of bytes that follow and 1; n bytes of samples, int16, one text after the other; and the
number of bytes of each text, four bytes each. If it failed, it is n, 0, and a message of n bytes.
"""

import ctypes
import ctypes.util
import json
import os
import struct
import sys
from typing import Any, BinaryIO

LIBRARY = "espeak-ng"
HEADER = struct.Struct("<II")
# Of espeak-ng/speak_lib.h.
_SYNCHRONOUS, _EXIT_NOT = 2, 0x8000
_SPEED, _PITCH = 1, 3
_UTF8, _PHONEMES, _END_PAUSE = 0x1, 0x100, 0x1000
_ON_SAMPLES = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def main() -> None:
    """Answer requests until the input ends."""
    library = load()
    answers = os.fdopen(os.dup(1), "wb")
    for line in sys.stdin.buffer:
        answer(library, json.loads(line), answers)


def load() -> Any:
    """espeak-ng's library, ready to speak.

    Raises:
        OSError: there is none, or its data are missing.
    """
    library = ctypes.CDLL(ctypes.util.find_library(LIBRARY) or f"lib{LIBRARY}.so.1")
    if library.espeak_Initialize(_SYNCHRONOUS, 0, None, _EXIT_NOT) < 0:
        raise OSError("espeak-ng does not start: its data are missing")
    return library


def answer(library: Any, request: list[Any], answers: BinaryIO) -> None:
    """Speak one text in a fork, and answer."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            texts = spoken(library, *request)
            answers.write(HEADER.pack(sum(map(len, texts)), 1) + b"".join(texts))
            answers.write(struct.pack(f"<{len(texts)}I", *map(len, texts)))
            answers.flush()
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        message = f"voice {request[1]!r} does not speak (exit status {status})".encode()
        answers.write(HEADER.pack(len(message), 0) + message)
        answers.flush()


def spoken(
    library: Any, texts: list[str], voice: str, pitch: int, words_per_minute: int
) -> list[bytes]:
    """The samples of each text, int16.

    Raises:
        RuntimeError: espeak-ng refused.
    """
    pieces: list[bytes] = []

    @_ON_SAMPLES
    def keep(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    library.espeak_SetSynthCallback(keep)
    if _set_voice(library, voice.encode()):
        raise RuntimeError("espeak-ng has no such voice")
    library.espeak_SetParameter(_SPEED, words_per_minute, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    sounds = []
    for text in texts:
        _say(library, text.encode())
        sounds.append(b"".join(pieces))
        pieces.clear()
    return sounds


def _say(library: Any, text: bytes) -> None:
    flags, size = ctypes.c_uint(_UTF8 | _PHONEMES | _END_PAUSE), ctypes.c_size_t(len(text) + 1)
    if library.espeak_Synth(text, size, 0, 0, 0, flags, None, None):
        raise RuntimeError("espeak-ng did not speak")
    library.espeak_Synchronize()


class _Properties(ctypes.Structure):
    """`espeak_VOICE`."""

    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("name", "languages", "identifier")),
        *((name, ctypes.c_ubyte) for name in ("gender", "age", "variant", "unused")),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


def _set_voice(library: Any, voice: bytes) -> int:
    """Choose a voice as the command does: by its name, else by its language; 0 for success."""
    properties = _Properties(languages=voice)
    return int(
        library.espeak_SetVoiceByName(voice)
        and library.espeak_SetVoiceByProperties(ctypes.byref(properties))
    )


if __name__ == "__main__":
    main()
