"""Text to ids as `keras.layers.TextVectorization` and the lookup layers compute them, and back."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import FrameError
from kgated_edge.format.vocabulary import Vocabulary

Ids = npt.NDArray[np.int32]
# Keras lowers and splits bytes, so that only ASCII letters and ASCII blanks count.
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_PUNCTUATION = str.maketrans("", "", "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'")
_BLANKS = re.compile(r"[ \t\n\v\f\r]+")


def encode(vocabulary: Vocabulary, text: Any) -> Ids:
    """The ids of a text, or of several.

    Args:
        vocabulary: of the model.
        text: a string, or an array or list of strings (N,) or (N, 1); where `vocabulary.split` is
            "given" tokens, an array of any shape.

    Returns:
        (T,) int32 of one text, cut or padded to `vocabulary.length`; (N, T) of several, padded to
        the longest; of given tokens the shape of the array.

    Raises:
        FrameError: no text, a token that is not in a vocabulary without an id for unknown ones, or
            several texts of different lengths without an id for padding.
    """
    if vocabulary.split == "given":
        return _lookup_all(vocabulary, text)
    if isinstance(text, str | bytes | np.str_ | np.bytes_):
        return np.array(_ids(vocabulary, _as_text(text)), np.int32)
    ids, lengths = encode_all(vocabulary, text)
    if vocabulary.padding is None and len(set(lengths.tolist())) > 1:
        raise FrameError(
            "texts of different lengths have no array of ids without an id for padding: encode "
            "them one by one"
        )
    return ids


def encode_all(vocabulary: Vocabulary, texts: Any) -> tuple[Ids, npt.NDArray[np.int64]]:
    """The ids of several texts, and how many each has.

    Args:
        vocabulary: of the model.
        texts: as for `encode`; of given tokens (N, T).

    Returns:
        (N, T) int32, padded at the end by the padding id, or by zeros where there is none; and the
        lengths (N,), 1 or more: a text without a token is one id of padding.

    Raises:
        FrameError: as from `encode`; a text without a token and no id for padding.
    """
    array = np.asarray(texts, None if isinstance(texts, np.ndarray) else object)
    if vocabulary.split == "given":
        if array.ndim != 2:
            raise FrameError(f"tokens must be an array (N, T), got shape {array.shape}")
        ids = _lookup_all(vocabulary, texts)
        return ids, np.full(len(ids), ids.shape[1], np.int64)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not len(array):
        raise FrameError(f"texts must be an array (N,) of strings, got shape {array.shape}")
    rows = [_ids(vocabulary, _as_text(text)) for text in array.tolist()]
    fill = vocabulary.padding
    if fill is None and not all(rows):
        raise FrameError(f"text {rows.index([])} has no token: leave it out")
    rows = [row or [fill or 0] for row in rows]
    lengths = np.array([len(row) for row in rows], np.int64)
    padded = np.full((len(rows), lengths.max()), fill or 0, np.int32)
    for n, row in enumerate(rows):
        padded[n, : len(row)] = row
    return padded, lengths


def decode(vocabulary: Vocabulary, ids: Iterable[Any]) -> str:
    """The text of ids.

    Args:
        vocabulary: of the model.
        ids: (T,) integers. Padding is left out.

    Returns:
        the tokens, with a space between words.

    Raises:
        FrameError: an id that no token has.
    """
    tokens = [token_of(vocabulary, token_id) for token_id in np.asarray(ids).reshape(-1).tolist()]
    between = "" if vocabulary.split == "character" else " "
    return between.join(str(token) for token in tokens if token is not None)


def token_of(vocabulary: Vocabulary, token_id: int) -> str | int | None:
    """The token of an id; None for padding.

    Raises:
        FrameError: no token has the id.
    """
    if token_id == vocabulary.padding:
        return None
    if not isinstance(token_id, int) or not 0 <= token_id < len(vocabulary):
        raise FrameError(f"an id must be in 0..{len(vocabulary) - 1}, got {token_id!r}")
    return vocabulary.tokens[token_id]


def id_of(vocabulary: Vocabulary, token: str | int) -> int:
    """The id of a token.

    Raises:
        FrameError: it is not in the vocabulary, which has no id for unknown ones.
    """
    token_id = _index(vocabulary).get(token, vocabulary.unknown)
    if token_id is None:
        raise FrameError(
            f"{token!r} is not among the {len(vocabulary)} tokens of the vocabulary, which has no "
            "id for unknown ones: replace it"
        )
    return token_id


def has_token(vocabulary: Vocabulary, token: str | int) -> bool:
    """Whether a token is in the vocabulary."""
    return token in _index(vocabulary)


@lru_cache(maxsize=8)
def _index(vocabulary: Vocabulary) -> dict[str | int, int]:
    """The id of each token; cached by the identity of the vocabulary, which may be large."""
    index: dict[str | int, int] = {}
    index.update(zip(vocabulary.tokens, range(len(vocabulary)), strict=True))
    return index


def _ids(vocabulary: Vocabulary, text: str) -> list[int]:
    ids = [id_of(vocabulary, token) for token in _split(vocabulary, text)]
    if vocabulary.length is None:
        return ids
    missing = vocabulary.length - len(ids)
    if missing > 0 and vocabulary.padding is None:
        raise FrameError(
            f"a text must have {vocabulary.length} tokens or more, got {len(ids)}: the vocabulary "
            "has no id for padding"
        )
    return ids[: vocabulary.length] + [vocabulary.padding or 0] * missing


def _split(vocabulary: Vocabulary, text: str) -> Sequence[str]:
    if vocabulary.standardize in ("lower", "lower_and_strip_punctuation"):
        text = text.translate(_LOWER)
    if vocabulary.standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
        text = text.translate(_PUNCTUATION)
    if vocabulary.split == "whitespace":
        return [word for word in _BLANKS.split(text) if word]
    return list(text) if vocabulary.split == "character" else [text]


def _lookup_all(vocabulary: Vocabulary, tokens: Any) -> Ids:
    array = np.asarray(tokens)
    kinds = "iu" if vocabulary.has_integers else "USO"
    if array.dtype.kind not in kinds or array.ndim == 0:
        rule = "integers" if vocabulary.has_integers else "strings"
        raise FrameError(
            f"this model takes an array of tokens, {rule}, got {array.dtype} of shape "
            f"{array.shape}: split the text into tokens first"
        )
    values = array.reshape(-1).tolist()
    tokens = values if vocabulary.has_integers else [_as_text(value) for value in values]
    ids = [id_of(vocabulary, token) for token in tokens]
    return np.array(ids, np.int32).reshape(array.shape)


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, str):
        return value
    raise FrameError(f"a text must be a string, got a {type(value).__name__}: pass str(text)")
