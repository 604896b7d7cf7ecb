"""Builds a vocabulary from tokens, or from a file with one token per line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgated_edge.errors import DataError, ManifestError
from kgated_edge.format.json_fields import Fields
from kgated_edge.format.vocabulary import MAX_TOKENS, Vocabulary

UNKNOWN = "[UNK]"
_NAMES = ("tokens", "standardize", "split", "unknown", "padding", "length")


def build_vocabulary(source: Any) -> Vocabulary:
    """The vocabulary of some tokens.

    Args:
        source: tokens in the order of their ids, or a dict of `tokens` and more attributes of
            `Vocabulary`. Where those are absent: "" as the first token is the padding, "[UNK]" is
            the unknown token, and texts are split into characters if every other token is one,
            else at whitespace.

    Raises:
        DataError: no tokens, some that repeat or are no text, an unknown attribute.
    """
    facts = dict(source) if isinstance(source, Mapping) else {"tokens": source}
    if isinstance(source, str) or "tokens" not in facts or not set(facts) <= set(_NAMES):
        got = repr(source) if isinstance(source, str) else sorted(map(str, facts))
        raise DataError(f"a vocabulary must be tokens, or a dict of {list(_NAMES)}, got {got}")
    tokens = [_plain(token) for token in facts["tokens"]]
    facts = {**_facts_of(tokens), **facts, "tokens": tokens}
    facts["standardize"], facts["split"] = facts["standardize"] or "none", facts["split"] or "none"
    try:
        return Vocabulary.read(Fields(facts, "vocabulary"), MAX_TOKENS)
    except ManifestError as error:
        message = str(error).removeprefix("manifest field ").removesuffix(": convert it again")
        raise DataError(message) from None


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Reads a vocabulary.

    Args:
        path: a text file of one token a line, in the order of their ids; or a `.json` file with an
            array of tokens, or an object with the attributes of `Vocabulary`.

    Raises:
        DataError: the file can't be read, or as from `build_vocabulary`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        is_json = path.suffix == ".json"
        document = json.loads(text) if is_json else text.removesuffix("\n").split("\n")
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"no UTF-8 text or JSON: {error}"
        raise DataError(f"{path}: {reason}: give a file of one token a line") from None
    if not isinstance(document, list | dict):
        raise DataError(f"{path}: it must hold an array of tokens: save a list")
    try:
        return build_vocabulary(document)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _facts_of(tokens: list[Any]) -> dict[str, Any]:
    """The properties of a vocabulary that follow from its tokens."""
    is_text = all(isinstance(token, str) for token in tokens)
    words = [token for token in tokens if token not in ("", UNKNOWN)]
    split = "character" if is_text and all(len(token) == 1 for token in words) else "whitespace"
    return {
        "standardize": "none",
        "split": split if is_text else "given",
        "unknown": tokens.index(UNKNOWN) if UNKNOWN in tokens else None,
        "padding": 0 if tokens[:1] == [""] else None,
        "length": None,
    }


def _plain(token: Any) -> Any:
    """A token of Keras or NumPy as Python's own."""
    if isinstance(token, bytes):
        return token.decode(errors="replace")
    return token.item() if hasattr(token, "item") else token
