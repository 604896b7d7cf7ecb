"""What the tests of kgated-edge share. Nothing here or beside it needs kgated or Keras."""

import hashlib
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from kgated_edge.cli import main

FIXTURES = Path(__file__).parent / "fixtures"
DIGEST = re.compile(rb'(?<="file_sha256":")[0-9a-f]{64}(?=")')


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """SIGINT as in a terminal: a job in the background is started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def frames(rng: np.random.Generator) -> np.ndarray:
    """Eight frames (8, 3) of `speech` and of the models with the same weights."""
    return rng.normal(size=(8, 3)).astype(np.float32)


@pytest.fixture
def speech() -> Path:
    """A model of float frames (3,) to two classes, with a sample period of 10 ms."""
    return FIXTURES / "speech.tflite"


@pytest.fixture
def text() -> Path:
    """A model of tokens 0..4 to a distribution over five."""
    return FIXTURES / "text.tflite"


@pytest.fixture
def fixture_file() -> Callable[[str], Path]:
    """The model file of a name."""
    return lambda name: FIXTURES / f"{name}.tflite"


@pytest.fixture
def oracle() -> Callable[[Path, np.ndarray], np.ndarray]:
    """(model file, frames) -> outputs (T, O), computed in float64 from the weights beside it."""
    return compute


@pytest.fixture
def sign() -> Callable[[bytes], bytes]:
    """Gives a file the digest that its manifest ought to have, by the words of the contract."""

    def signed(content: bytes) -> bytes:
        zeroed = DIGEST.sub(b"0" * 64, content)
        return DIGEST.sub(hashlib.sha256(zeroed).hexdigest().encode(), content)

    return signed


@pytest.fixture
def edit(tmp_path: Path, sign: Callable[[bytes], bytes]) -> Callable[..., Path]:
    """(file, old, new) -> a copy with bytes replaced, and the digest made to fit."""

    def edited(path: Path, old: bytes, new: bytes) -> Path:
        content = path.read_bytes()
        assert content.count(old) == 1
        # Same length: offsets in the file stay true.
        assert len(old) == len(new)
        changed = tmp_path / f"edited_{path.name}"
        changed.write_bytes(sign(content.replace(old, new)))
        return changed

    return edited


@pytest.fixture
def npz(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Ten sequences for `speech`, with the labels that the equations decide for."""
    x = rng.normal(0.0, 2.0, size=(10, 6, 3)).astype(np.float32)
    lengths = rng.integers(1, 7, size=10)
    y = [
        compute(FIXTURES / "speech.tflite", x[n, :length])[-1].argmax()
        for n, length in enumerate(lengths)
    ]
    path = tmp_path / "data.npz"
    np.savez(path, x=x, lengths=lengths, y=np.array(y))
    return path


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """(arguments) -> (exit code, stdout, stderr); capfd also sees what native code writes."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main.main([str(argument) for argument in arguments])
        return (code, *capfd.readouterr())

    return run


@pytest.fixture
def error(command: Callable[..., tuple[int, str, str]]) -> Callable[..., str]:
    """(arguments) -> the one line that a bad input ends in, without its prefix."""

    def run(*arguments: object) -> str:
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("kgated-edge: error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        return err.removeprefix("kgated-edge: error: ").strip()

    return run


def compute(path: Path, frames: np.ndarray) -> np.ndarray:
    with np.load(path.with_suffix(".npz")) as arrays:
        w = {name: array.astype(np.float64) for name, array in arrays.items()}
    x = w["embedding_embeddings"][frames] if frames.ndim == 1 else frames.astype(np.float64)
    h = c = np.zeros(len(w["lstm_recurrent_kernel"]))
    outputs = []
    for x_t in x:
        z = x_t @ w["lstm_kernel"] + h @ w["lstm_recurrent_kernel"] + w["lstm_bias"]
        i, f, g, o = np.split(z, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        logits = np.exp(h @ w["dense_kernel"] + w["dense_bias"])
        outputs.append(logits / logits.sum())
    return np.array(outputs)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


class FakeClock:
    """A clock that moves by a tick when looked at, and by what is asked when slept on."""

    def __init__(self, tick: int = 1000, oversleep: int = 0) -> None:
        self.time, self.tick, self.oversleep, self.sleeps = 0, tick, oversleep, 0

    def now(self) -> int:
        self.time += self.tick
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += round(seconds * 1e9) + self.oversleep
        self.sleeps += 1


@pytest.fixture
def fake_clock() -> type[FakeClock]:
    return FakeClock
