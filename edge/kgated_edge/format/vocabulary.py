"""The vocabulary of a text model, as its manifest has it: tokens, and how a text becomes tokens."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from kgated_edge.format.json_fields import Fields

STANDARDIZE = ("none", "lower", "strip_punctuation", "lower_and_strip_punctuation")
SPLIT = ("whitespace", "character", "none", "given")
MAX_TOKENS = 1 << 20
MAX_CHARACTERS = 1 << 24
MAX_LENGTH = 1 << 20


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens, and how a text becomes their ids, as `keras.layers.TextVectorization` computes it.

    Attributes:
        tokens: the token of each id, all strings or all integers.
        standardize: what is done to a text first: "none", "lower" (ASCII letters),
            "strip_punctuation", "lower_and_strip_punctuation".
        split: "whitespace", "character", "none": a text is one token; "given": the caller splits,
            and passes an array of tokens.
        unknown: the id of tokens that are not in the vocabulary; None: they are refused.
        padding: the id that fills up shorter texts; None where there is none.
        length: ids of each text, which is cut or padded to it; None: as many as it has tokens.
    """

    tokens: tuple[str, ...] | tuple[int, ...]
    standardize: str = "none"
    split: str = "whitespace"
    unknown: int | None = None
    padding: int | None = None
    length: int | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def has_integers(self) -> bool:
        """Whether the tokens are integers."""
        return bool(self.tokens) and isinstance(self.tokens[0], int)

    def to_plain(self) -> dict[str, object]:
        """The entry of the JSON document."""
        return {**asdict(self), "tokens": list(self.tokens)}

    @classmethod
    def read(cls, items: Fields, ids: int) -> "Vocabulary":
        """Reads an entry of the JSON document.

        Args:
            items: the entry.
            ids: how many ids the model's input takes.

        Raises:
            ManifestError: a field is missing or breaks its rule.
        """
        tokens = _tokens(items, ids)

        def token_id(key: str) -> int:
            number = items.integer(key, 0)
            if number >= len(tokens):
                raise items.wrong(key, f"the id of a token, below {len(tokens)}")
            return number

        length = items.optional("length", lambda key: items.integer(key, 1))
        vocabulary = cls(
            tokens=tokens,
            standardize=items.choice("standardize", STANDARDIZE),
            split=items.choice("split", SPLIT),
            unknown=items.optional("unknown", token_id),
            padding=items.optional("padding", token_id),
            length=length,
        )
        if length is not None and length > MAX_LENGTH:
            raise items.wrong("length", f"at most {MAX_LENGTH}")
        if vocabulary.has_integers and vocabulary.split != "given":
            raise items.wrong("split", "'given' for tokens that are integers")
        return vocabulary


def read_vocabularies(items: Fields, ids: Mapping[str, int | None]) -> dict[str, Vocabulary]:
    """The vocabularies of a manifest, by input; older files do not have this field.

    Args:
        items: the document.
        ids: by input how many ids it takes, None where it takes none.

    Raises:
        ManifestError: a field breaks its rule, or an input takes no ids.
    """
    if "vocabularies" not in items:
        return {}
    entries = items.nested("vocabularies")
    for name in entries:
        if ids.get(name) is None:
            raise entries.wrong(name, "of an input that takes tokens")
    sizes = {name: ids[name] or 0 for name in entries}
    return {name: Vocabulary.read(entries.nested(name), size) for name, size in sizes.items()}


def _tokens(items: Fields, ids: int) -> tuple[str, ...] | tuple[int, ...]:
    values = items.array("tokens")
    if not 0 < len(values) <= min(ids, MAX_TOKENS):
        raise items.wrong("tokens", f"1 to {min(ids, MAX_TOKENS)} tokens, as the model has ids")
    if all(type(value) is int and abs(value) < 2**63 for value in values):
        tokens: tuple[str, ...] | tuple[int, ...] = tuple(v for v in values if isinstance(v, int))
    elif all(isinstance(value, str) for value in values):
        tokens = tuple(map(str, values))
        if sum(map(len, tokens)) > MAX_CHARACTERS or not all(map(_is_text, tokens)):
            raise items.wrong("tokens", f"text of at most {MAX_CHARACTERS} characters")
    else:
        raise items.wrong("tokens", "an array of strings, or of integers")
    if len(set(tokens)) != len(tokens):
        raise items.wrong("tokens", "tokens that differ")
    return tokens


def _is_text(token: str) -> bool:
    """Whether it is valid text, without half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in token)
