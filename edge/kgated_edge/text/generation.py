"""Text that a streaming language model continues, one token per step."""

import math
import operator
from collections.abc import Collection, Iterator
from typing import Any, Protocol

import numpy as np

from kgated_edge.errors import EdgeError, FrameError
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array
from kgated_edge.format.vocabulary import Vocabulary
from kgated_edge.text.codec import encode, has_token, id_of, token_of
from kgated_edge.text.sampling import sample


class LanguageModel(Protocol):
    """The methods of a model that `generate` calls, such as those of an `EdgeModel`."""

    @property
    def manifest(self) -> Manifest:
        """The manifest in the file."""

    def reset(self) -> None:
        """Sets all states to zero."""

    def step(self, frame: Any) -> Any:
        """The output for one token."""


def generate(
    model: LanguageModel,
    prompt: Any,
    max_tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    stop: Any = None,
    seed: int | None = None,
) -> Iterator[Any]:
    """Continues a prompt: yields a token per step, and keeps nothing but the model's state.

    Args:
        model: an `EdgeModel` of tokens to the scores of the next token, logits or probabilities.
            It is reset first.
        prompt: a text, for a file with a vocabulary, or ids (T,); one token or more.
        max_tokens: how many tokens to yield at most.
        temperature: divides the logits; below 1 safer, above 1 bolder, 0: always the likeliest.
        top_k: draw among the k likeliest only; None: among all.
        stop: a token, or several, at which to end; it is not yielded.
        seed: of the draws; None: another text each time.

    Yields:
        the token as text where the prompt is a text, else its id.

    Raises:
        EdgeError: a model that is no streaming language model, an argument out of range.
        FrameError: an empty prompt, or one that the vocabulary has no ids for.
    """
    vocabulary = _check_model(model.manifest)
    size = model.manifest.output.size
    _check_arguments(max_tokens, temperature, top_k, size)
    ids = _prompt_ids(prompt, vocabulary)
    as_text = _is_text(prompt)
    stops = {_stop_id(token, vocabulary, size) for token in _several(stop)}
    return _tokens(model, ids, max_tokens, temperature, top_k, stops, seed, as_text)


def _tokens(
    model: LanguageModel,
    prompt: list[int],
    max_tokens: int,
    temperature: float,
    top_k: int | None,
    stops: Collection[int],
    seed: int | None,
    as_text: bool,
) -> Iterator[Any]:
    vocabulary = model.manifest.vocabulary
    known = len(vocabulary) if as_text and vocabulary is not None else None
    rng = np.random.default_rng(seed)
    model.reset()
    for token in prompt:
        scores: Array = model.step(token)
    for count in range(1, max_tokens + 1):
        token = sample(scores.reshape(-1)[:known], temperature, top_k, rng)
        if token in stops:
            return
        if as_text and vocabulary is not None:
            yield token_of(vocabulary, token) or ""
        else:
            yield token
        if count < max_tokens:
            scores = model.step(token)


def _check_model(manifest: Manifest) -> Vocabulary | None:
    is_language_model = (
        manifest.mode == "stream"
        and len(manifest.frames) == len(manifest.outputs) == 1
        and manifest.frame.is_token
        and manifest.frames_per_step == manifest.batch == 1
        and manifest.output.size == manifest.frame.vocabulary
    )
    if not is_language_model:
        raise EdgeError(
            "generating text takes a stream of one token per step with an output per token of the "
            "vocabulary: convert a language model with mode 'stream' and a batch of 1"
        )
    return manifest.vocabulary


def _check_arguments(max_tokens: int, temperature: float, top_k: int | None, size: int) -> None:
    if max_tokens < 0:
        raise EdgeError(f"`max_tokens` must not be below 0, got {max_tokens}")
    if not 0.0 <= temperature < math.inf:
        raise EdgeError(f"`temperature` must be 0 (the likeliest) or above, got {temperature}")
    if top_k is not None and not 1 <= top_k <= size:
        raise EdgeError(f"`top_k` must be in 1..{size}, the vocabulary, got {top_k}")


def _prompt_ids(prompt: Any, vocabulary: Vocabulary | None) -> list[int]:
    if _is_text(prompt):
        if vocabulary is None:
            raise FrameError(
                "the file has no vocabulary to encode a text with: pass ids, or convert the model "
                "with `vocabulary`"
            )
        ids = list(map(int, encode(vocabulary, prompt)))
        # A text padded to a fixed length is a prompt up to its last token.
        while vocabulary.length is not None and ids and ids[-1] == vocabulary.padding:
            ids.pop()
    else:
        try:
            ids = [operator.index(token) for token in prompt]
        except TypeError:
            raise FrameError("a prompt must be a text, or ids: integers") from None
    if not ids:
        raise FrameError("a prompt must have a token or more: start with one that begins a text")
    return ids


def _is_text(prompt: Any) -> bool:
    """Whether it is a text, or an array or list of texts, and no ids."""
    return isinstance(prompt, str) or np.asarray(prompt).dtype.kind in "US"


def _several(stop: Any) -> list[Any]:
    if stop is None:
        return []
    return [stop] if isinstance(stop, str) or np.ndim(stop) == 0 else list(stop)


def _stop_id(token: Any, vocabulary: Vocabulary | None, size: int) -> int:
    if isinstance(token, str):
        if vocabulary is None or not has_token(vocabulary, token):
            raise EdgeError(f"`stop` must be a token of the vocabulary, got {token!r}")
        return id_of(vocabulary, token)
    if not isinstance(token, int | np.integer) or not 0 <= token < size:
        raise EdgeError(f"`stop` must be a token, or an id in 0..{size - 1}, got {token!r}")
    return int(token)
