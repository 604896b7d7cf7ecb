"""Train a character language model on the text of Python's manual, and compare it with a 5-gram.

The text is `pydoc_data.topics` without repeated paragraphs. Both models are trained on the same
eight tenths, tuned on a tenth and evaluated on the last tenth, in bits per character. The same
command resumes a killed run.
"""

import json
import math
import pydoc_data.topics
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from kgated.atomic_write import check_writable, replace_file
from kgated.layers import CELLS
from kgated.models import NEXT_TOKEN_LOSS, LanguageModel, bits_per_token, text_streams
from kgated.training import carry_state, start_or_resume
from kgated.training.callbacks import Log

END = "¶"  # ends each paragraph
RARE = "�"  # stands for characters that the training text has once at most
FOLDS = 10
ORDER = 5
STREAMS, STEPS = 16, 32
console = Console()


@dataclass(frozen=True)
class Corpus:
    """Three texts over one vocabulary, each starting with END."""

    vocabulary: tuple[str, ...]
    train: str
    valid: str
    test: str


def corpus() -> Corpus:
    """Python's manual, split by paragraphs: eight tenths training, one tuning, one test.

    Of repeated paragraphs, also with different spacing, only the last one is used.
    """
    topics = pydoc_data.topics.topics
    text = "\n\n".join(topics[name] for name in sorted(topics))
    once = {" ".join(p.split()): p for p in reversed(re.split(r"\n\s*\n", text)) if p.strip()}
    paragraphs = [p.strip("\n") for p in reversed(once.values())]
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for n, paragraph in enumerate(paragraphs):
        name = {FOLDS - 2: "valid", FOLDS - 1: "test"}.get(n % FOLDS, "train")
        parts[name].append(paragraph)
    texts = {name: END + END.join(counts) + END for name, counts in parts.items()}
    known = {c for c, count in Counter(texts["train"]).items() if count > 1}
    folded = {
        name: "".join(c if c in known else RARE for c in part) for name, part in texts.items()
    }
    return Corpus((RARE, *sorted(known)), **folded)


class NGram:
    """Interpolated Kneser-Ney n-gram (Chen & Goodman 1999), its discounts chosen on held-out text.

    `p_k(c|h) = (max(n(hc) - D_k, 0) + D_k·d(h)·p_{k-1}(c|h')) / n(h)`, with d(h) the characters
    seen after the context h; below the highest order, n counts the contexts that a gram follows.
    """

    def __init__(self, tokens: np.ndarray, size: int, order: int = ORDER) -> None:
        self.size, self.order = size, order
        self.levels = []
        for k in range(order):
            longer = self._grams(tokens, min(k + 1, order - 1))
            followed = np.unique(longer) % size ** (k + 1) if k < order - 1 else longer
            grams, n = np.unique(followed, return_counts=True)
            contexts, of_gram = np.unique(grams // size, return_inverse=True)
            self.levels.append((grams, n, contexts, np.bincount(of_gram, n), np.bincount(of_gram)))
        self.discounts = np.full(order, 0.75)

    def tune(self, tokens: np.ndarray) -> None:
        """Choose each order's discount by the bits per character of a held-out text."""
        counts = self._counts(tokens)
        for level in 2 * list(range(self.order)):
            tried = np.tile(self.discounts, (20, 1))
            tried[:, level] = np.linspace(0.05, 1.0, 20)
            self.discounts = min(tried, key=lambda d: self._bits(counts, d))

    def bits_per_token(self, tokens: np.ndarray) -> float:
        """Mean of `-log2 p`, from the second token on."""
        return self._bits(self._counts(tokens), self.discounts)

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Of each token given those before it, (T - 1,), from the second token on."""
        return self._mixed(self._counts(tokens), self.discounts)

    def _bits(self, counts: list[tuple[np.ndarray, ...]], discounts: np.ndarray) -> float:
        return float(-np.log2(self._mixed(counts, discounts)).mean())

    def _mixed(self, counts: list[tuple[np.ndarray, ...]], discounts: np.ndarray) -> np.ndarray:
        p = np.full(len(counts[0][0]), 1.0 / self.size)
        for (n, total, distinct), D in zip(counts, discounts, strict=True):
            mixed = (np.maximum(n - D, 0.0) + D * distinct * p) / np.maximum(total, 1.0)
            p = np.where(total > 0, mixed, p)
        return p

    def _grams(self, tokens: np.ndarray, context: int) -> np.ndarray:
        """Each token from the second on with `context` tokens before it, as one integer."""
        padded = np.concatenate([np.full(context, tokens[0]), tokens]).astype(np.int64)
        count = len(tokens) - 1
        grams = np.zeros(count, np.int64)
        for j in range(context + 1):
            grams = grams * self.size + padded[1 + j : 1 + j + count]
        return grams

    def _counts(self, tokens: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        counts: list[tuple[np.ndarray, ...]] = []
        for k, (grams, n, contexts, total, distinct) in enumerate(self.levels):
            asked = self._grams(tokens, k)
            context = asked // self.size
            counts.append(
                (
                    _look_up(grams, n, asked),
                    _look_up(contexts, total, context),
                    _look_up(contexts, distinct, context),
                )
            )
        return counts


def _look_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0)


class Anneal(keras.callbacks.Callback):
    """Learning rate schedule: rises over the first tenth, then falls along a cosine.

    The progress is counted in steps, so that a run is reproducible. On a machine that is too slow
    for the time budget it is counted in minutes, so that the training ends at a low rate there too.
    """

    def __init__(self, peak: float, steps: int, minutes: float, log: Log, bar: Any) -> None:
        super().__init__()
        self.peak, self.steps, self.minutes, self.log, self.bar = peak, steps, minutes, log, bar

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of this step; stop when the time is over."""
        done = int(self.model.optimizer.iterations) / self.steps
        spent = self.log.seconds() / 60.0 / self.minutes
        if spent > 0.1:  # the first step includes compilation and does not show the pace
            done = min(1.0, max(done, spent))
        rise, fall = done / 0.1, 0.5 + 0.5 * math.cos(math.pi * (done - 0.1) / 0.9)
        self.model.optimizer.learning_rate = self.peak * max(0.01, min(rise, fall))
        self.model.stop_training = self.model.stop_training or done >= 1.0
        self.bar(done)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Say where it stands."""
        row = self.log.rows[-1]
        bits = row["val_loss"] / math.log(2.0)
        console.print(f"epoch {epoch + 1}: valid {bits:.3f} bits, {row['seconds']:.0f} s")


def main(
    folder: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/language"),
    minutes: Annotated[float, typer.Option(min=0.05, help="Time for training.")] = 9.0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the text.")] = 20,
    cell: Annotated[str, typer.Option(help=f"One of {', '.join(CELLS)}.")] = "LSTM",
    units: Annotated[int, typer.Option(min=1, help="Units of the recurrent layer.")] = 256,
    dropout: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Dropout between layers.")
    ] = 0.25,
    rate: Annotated[float, typer.Option(help="Maximum learning rate.")] = 4e-3,
    seed: Annotated[int, typer.Option(help="Seed of weights and dropout.")] = 0,
    prompt: Annotated[str, typer.Option(help="Prompt of the text sample.")] = "The ",
    out: Annotated[Path | None, typer.Option("--json", help="JSON file of the results.")] = None,
) -> None:
    """Train, and print the bits per character of both models and a sample of text."""
    if out is not None:
        check_writable(out)
    use_one_thread()
    keras.utils.set_random_seed(seed)
    text = corpus()
    model = LanguageModel(text.vocabulary, cell, units, dropout=dropout)
    train, valid, test = (model.encode(part) for part in (text.train, text.valid, text.test))
    ngram = NGram(train, len(text.vocabulary))
    ngram.tune(valid)
    console.print(
        f"{len(train)} characters to learn from, {len(valid)} to tune on, {len(test)} to judge by, "
        f"{len(text.vocabulary)} different; {model.count_params()} weights"
    )
    log = fit(model, train, valid, folder, minutes, epochs, rate)
    best = keras.saving.load_model(folder / "best.keras")
    facts = evaluate(best, ngram, test, log)
    facts |= {"cell": cell, "units": units, "weights": model.count_params(), "seed": seed}
    console.print(
        f"test: {cell} {facts['test_bits_per_character']:.3f} bits per character, "
        f"{ORDER}-gram {facts['ngram_test_bits_per_character']:.3f}, after "
        f"{facts['train_seconds']:.0f} s of training"
    )
    written = best.generate(prompt, 400, temperature=0.6, stop_token=END, seed=seed)
    console.print(prompt + written, markup=False, highlight=False)
    if out is not None:
        replace_file(out, json.dumps({**facts, "sample": prompt + written}, indent=2).encode())


def evaluate(model: LanguageModel, ngram: NGram, test: np.ndarray, log: Log) -> dict[str, Any]:
    """Bits per character of both models on the test text, and the cost of the training."""
    return {
        "test_bits_per_character": bits_per_token(model, test),
        "ngram_test_bits_per_character": ngram.bits_per_token(test),
        "ngram_order": ORDER,
        "train_seconds": log.seconds(),
        "epochs": len(log.rows),
    }


def use_one_thread() -> None:
    """Matrices this small are multiplied faster by one thread than by two (TensorFlow, CPU)."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)


def fit(
    model: LanguageModel,
    train: np.ndarray,
    valid: np.ndarray,
    folder: Path,
    minutes: float,
    epochs: int,
    rate: float,
) -> Log:
    """Truncated backpropagation over parallel streams of the text; the best is in the folder."""
    stateful = carry_state(model, STREAMS)
    stateful.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0), NEXT_TOKEN_LOSS)
    data = text_streams(train, STREAMS, STEPS)
    run = start_or_resume(stateful, folder, keep=model)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=1.0)
        anneal = Anneal(
            rate, epochs * len(data), minutes, run.log, lambda d: progress.update(task, completed=d)
        )
        stateful.fit(
            data,
            validation_data=text_streams(valid, STREAMS, STEPS),
            epochs=epochs,
            initial_epoch=run.initial_epoch,
            callbacks=[*run.callbacks, anneal],
            verbose=0,
        )
    return run.log


if __name__ == "__main__":
    typer.run(main)
