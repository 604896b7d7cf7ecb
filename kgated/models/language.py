"""A language model over characters or tokens, and the generation of text."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import keras
import numpy as np

from kgated.cells import choose, register
from kgated.layers import CELLS
from kgated.training import Recordings, carry_state

# The loss of a language model: logits (B, T, V) against the next tokens (B, T).
NEXT_TOKEN_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
Prompt = TypeVar("Prompt", str, list[str])


@register
class LanguageModel(keras.Sequential):
    """Language model for next-token prediction: tokens (B, T) int32 to logits (B, T, V).

    The layers are Embedding, `layers` recurrent layers with dropout before each and after the last,
    and Dense. The model is saved, loaded and converted like any Keras model; the vocabulary is part
    of its configuration.

    Args:
        vocabulary: V different symbols; a symbol is a character or a longer token.
        cell: "LSTM", "PeepholeLSTM", "GRU", "MinGRU" or "MinLSTM".
        units: U, of each recurrent layer.
        layers: the number of recurrent layers.
        embedding_units: E, the size of a symbol's vector.
        dropout: the rate between layers, 0 to below 1.
        recurrent_dropout: the rate on the state, 0 to below 1; the minimal cells don't support it.
        dtype: a Keras dtype policy such as "mixed_bfloat16"; the logits are float32.

    Raises:
        ValueError: the vocabulary is empty or repeats a symbol, the cell is unknown, or `layers` is
            below 1.

    Example:
        >>> model = LanguageModel(sorted(set(text)), units=128)
        >>> stateful = carry_state(model, streams=16)
        >>> stateful.compile("adam", NEXT_TOKEN_LOSS)
        >>> stateful.fit(text_streams(model.encode(text), streams=16, steps=64), epochs=10)
        >>> model.generate("The ", max_len=80, temperature=0.7, seed=1)
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        cell: str = "LSTM",
        units: int = 256,
        layers: int = 1,
        embedding_units: int = 64,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dtype: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        recurrent = choose("cell", cell, CELLS)
        _check_vocabulary(vocabulary)
        if layers < 1:
            raise ValueError(f"`layers` must be at least 1. Received: {layers!r}")
        # A cell without recurrent weights has no recurrent dropout.
        dropped = {"recurrent_dropout": recurrent_dropout} if recurrent_dropout else {}
        shared = {"return_sequences": True, "dtype": dtype, **dropped}
        stack = [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(len(vocabulary), embedding_units, dtype=dtype),
        ]
        for _ in range(layers):
            stack += [keras.layers.Dropout(dropout, dtype=dtype), recurrent(units, **shared)]
        logits = keras.layers.Dense(len(vocabulary), dtype="float32", name="logits")
        stack += [keras.layers.Dropout(dropout, dtype=dtype), logits]
        super().__init__(stack, name=name, **kwargs)
        self.vocabulary = tuple(vocabulary)
        self._index = {symbol: token for token, symbol in enumerate(self.vocabulary)}
        self._options = {
            "cell": cell,
            "units": units,
            "layers": layers,
            "embedding_units": embedding_units,
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
            "dtype": keras.dtype_policies.serialize(keras.dtype_policies.get(dtype)),
        }

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "vocabulary": list(self.vocabulary), **self._options}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "LanguageModel":
        """Build the model from `get_config()`."""
        return cls(**config)

    def encode(self, text: Sequence[str]) -> np.ndarray:
        """The tokens of a text.

        Args:
            text: a text, or a list of symbols of the vocabulary.

        Returns:
            (T,) int32.

        Raises:
            ValueError: a symbol is not in the vocabulary.
        """
        try:
            return np.array([self._index[symbol] for symbol in text], np.int32)
        except KeyError as error:
            raise ValueError(
                f"`text` holds {error.args[0]!r}, which is not among the {len(self.vocabulary)} "
                "symbols of the vocabulary: replace it, or train with it"
            ) from None

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of tokens.

        Args:
            tokens: (T,) integers.
        """
        return "".join(self.vocabulary[token] for token in tokens)

    def generate(
        self,
        prompt: Prompt,
        max_len: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        stop_token: str | None = None,
        seed: int | None = None,
    ) -> Prompt:
        """Continue a prompt; the state is kept between tokens, so each token takes one step.

        Args:
            prompt: a text of characters, or a list of symbols; at least one.
            max_len: the maximum number of symbols to generate.
            temperature: divides the logits. Values below 1 make likely tokens more likely, values
                above 1 less; 0 always selects the likeliest token.
            top_k: draw only among the k likeliest, 1 to V. None: among all.
            stop_token: generation stops at this symbol, which is not returned. None: generation
                stops only at `max_len`.
            seed: of the draws. None: another text each time.

        Returns:
            The continuation, a text or a list of symbols, as the prompt is.

        Raises:
            ValueError: the prompt is empty, a symbol is not in the vocabulary, `max_len` or
                `temperature` is below 0, or `top_k` is out of range.
        """
        self._check_generate(prompt, max_len, temperature, top_k)
        stop = None if stop_token is None else int(self.encode([stop_token])[0])
        step, rng, written = Stepper(self), np.random.default_rng(seed), list[int]()
        for token in self.encode(prompt):
            logits = step(token)
        while len(written) < max_len:
            token = sample(logits, temperature, top_k, rng)
            if token == stop:
                break
            written.append(token)
            if len(written) < max_len:
                logits = step(token)
        symbols = [self.vocabulary[token] for token in written]
        return "".join(symbols) if isinstance(prompt, str) else symbols

    def _check_generate(
        self, prompt: Sequence[str], max_len: int, temperature: float, top_k: int | None
    ) -> None:
        if not len(prompt):
            raise ValueError(
                "`prompt` must have at least one symbol. Received none: start with one that begins "
                "a text"
            )
        if max_len < 0:
            raise ValueError(f"`max_len` must be at least 0. Received: {max_len!r}")
        if not 0.0 <= temperature < math.inf:
            raise ValueError(
                f"`temperature` must be 0 (the likeliest) or above. Received: {temperature!r}"
            )
        if top_k is not None and not 1 <= top_k <= len(self.vocabulary):
            raise ValueError(
                f"`top_k` must be in 1..{len(self.vocabulary)}, the vocabulary, or None. "
                f"Received: {top_k!r}"
            )


class Stepper:
    """Runs a language model one step per call and keeps the state between calls.

    Args:
        model: a chain of layers from (B, T) tokens, such as a `LanguageModel`; weights are shared.
    """

    def __init__(self, model: keras.Sequential) -> None:
        inputs = [keras.Input(batch_shape=(1, 1), dtype="int32")]
        x, outputs = inputs[0], list[Any]()
        for layer in model.layers:
            if isinstance(layer, keras.layers.RNN):
                states = [
                    keras.Input(batch_shape=(1, size), dtype=layer.compute_dtype)
                    for size in layer.state_size
                ]
                x, *new = _one_step(layer)(x, initial_state=states)
                inputs, outputs = inputs + states, outputs + new
            else:
                x = layer(x)
        self._model = keras.Model(inputs, [x, *outputs])
        self.state = [np.zeros(tensor.shape, tensor.dtype) for tensor in inputs[1:]]

    def __call__(self, token: int) -> np.ndarray:
        """Advance the state by `token` and return the logits (V,) of the next token."""
        frame = np.array([[token]], np.int32)
        logits, *self.state = self._model.predict_on_batch([frame, *self.state])
        return np.asarray(logits[0, 0], np.float64)


def _one_step(layer: keras.layers.RNN) -> keras.layers.RNN:
    return keras.layers.RNN(
        layer.cell, return_sequences=True, return_state=True, unroll=True, dtype=layer.dtype_policy
    )


def sample(
    logits: np.ndarray, temperature: float, top_k: int | None, rng: np.random.Generator
) -> int:
    """Draw a token from logits (V,): `softmax(logits / temperature)` over the k likeliest.

    Temperature 0 selects the likeliest token, or the first of equally likely ones.
    """
    if temperature == 0.0:
        return int(np.argmax(logits))
    order = np.argsort(-logits, kind="stable")[:top_k]
    scaled = (logits[order] - logits[order[0]]) / temperature
    p = np.exp(scaled)
    return int(rng.choice(order, p=p / p.sum()))


def text_streams(tokens: np.ndarray, streams: int, steps: int) -> Recordings:
    """Split a text into parallel pieces for next-token prediction.

    Args:
        tokens: (T,) integers.
        streams: number of pieces, the rows of each batch.
        steps: frames of a chunk.

    Returns:
        Recordings to train on with carried state; the target of a token is the next one.

    Raises:
        ValueError: there are fewer than 2 tokens per stream.
    """
    if len(tokens) < 2 * streams:
        raise ValueError(
            f"a text for {streams} streams must have {2 * streams} tokens or more. Received "
            f"{len(tokens)}: take fewer streams"
        )
    x, y = np.array_split(tokens[:-1], streams), np.array_split(tokens[1:], streams)
    return Recordings(x, y, streams, steps)


def bits_per_token(model: keras.Model, tokens: np.ndarray, steps: int = 512) -> float:
    """Mean of `-log2 p(token | all tokens before it in the text)`, from the second token on.

    The text is read once as one stream; the state is carried from chunk to chunk.

    Args:
        model: from tokens to logits, such as a `LanguageModel`.
        tokens: (T,) int32, at least 2.
        steps: tokens per chunk; the result does not depend on it.
    """
    stateful, bits = carry_state(model, streams=1), 0.0
    data = text_streams(tokens, 1, steps)
    for x, y, weights in (data[k] for k in range(len(data))):
        logits = np.asarray(stateful.predict_on_batch(x)[0], np.float64)
        bits += float(cross_entropy_bits(logits, y[0])[weights[0] > 0].sum())
    return bits / (len(tokens) - 1)


def cross_entropy_bits(logits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """`-log2 softmax(logits)[token]`, (T,), from logits (T, V) and tokens (T,)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, tokens[:, None], axis=-1)[:, 0]
    return (np.log(np.exp(shifted).sum(axis=-1)) - chosen) / math.log(2.0)


def _check_vocabulary(vocabulary: Sequence[str]) -> None:
    if not len(vocabulary):
        raise ValueError("`vocabulary` must have at least one symbol. Received none")
    if len(set(vocabulary)) != len(vocabulary):
        twice = next(s for s in vocabulary if list(vocabulary).count(s) > 1)
        raise ValueError(f"`vocabulary` must have each symbol once. Received {twice!r} twice")
