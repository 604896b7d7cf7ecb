"""The vocabularies of a conversion: given by the caller or cut off the model, checked, by input."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import keras
import numpy as np
from kgated_edge.errors import DataError
from kgated_edge.evaluation.text_data import encode_data
from kgated_edge.format.manifest import TensorSpec
from kgated_edge.format.vocabulary import Vocabulary
from kgated_edge.text.build import build_vocabulary

from kgated.deploy.text.cut import vocabulary_of
from kgated.deploy.verification.data.sequences import Calibration

Given: TypeAlias = (
    Vocabulary | Sequence[str] | Sequence[int] | Mapping[str, Any] | keras.layers.Layer | None
)


def as_vocabulary(source: Given) -> Vocabulary | None:
    """The vocabulary that a caller gives.

    Args:
        source: a `Vocabulary`, a lookup layer, or what `kgated_edge.text.build_vocabulary` takes;
            None: none.

    Raises:
        ValueError: no tokens, some that repeat or are no text, an unknown attribute.
        ConversionError: as from `vocabulary_of`.
    """
    if source is None or isinstance(source, Vocabulary):
        return source
    if isinstance(source, keras.layers.Layer):
        return vocabulary_of(source)
    try:
        return build_vocabulary(source)
    except DataError as error:
        raise ValueError(f"`vocabulary`: {error}") from None


def encoded(
    calibration: Calibration, frames: Sequence[TensorSpec], vocabularies: Mapping[str, Vocabulary]
) -> Calibration:
    """Calibration data with ids in place of texts.

    Raises:
        ValueError: a text that the vocabulary has no ids for.
    """
    if calibration is None or not vocabularies:
        return calibration
    names = [frame.name for frame in frames]
    data: Any = calibration
    if isinstance(calibration, np.ndarray | list | tuple):
        data = {"x": np.asarray(calibration)}
    try:
        several = names if len(names) > 1 else ()
        return encode_data(data, names, vocabularies, several, targets=False)
    except DataError as error:
        raise ValueError(f"`calibration`: {error}") from None


def by_input(
    frames: Sequence[TensorSpec],
    cut: Mapping[int, Vocabulary],
    vocabulary_option: Vocabulary | None,
    length: int | None,
) -> dict[str, Vocabulary]:
    """The vocabularies by the name of an input.

    Args:
        frames: one frame of each input, in the model's order.
        cut: by place those of the layers that were cut off.
        vocabulary_option: the caller's, for the only input of tokens.
        length: of the file's sequences, where it is fixed: texts are padded to it.

    Raises:
        ValueError: a vocabulary for a model without such an input, or of more tokens than ids.
    """
    vocabularies = {frames[n].name: vocabulary for n, vocabulary in cut.items()}
    if vocabulary_option is not None:
        tokens = [frame.name for frame in frames if frame.vocabulary is not None]
        if len(tokens) != 1:
            raise ValueError(
                "`vocabulary` is for models with one input of tokens, which an Embedding reads. "
                f"This one has {len(tokens)}: {tokens}"
            )
        vocabularies[tokens[0]] = vocabulary_option
    for frame in frames:
        vocabulary = vocabularies.get(frame.name)
        if vocabulary is None:
            continue
        if frame.vocabulary is None or len(vocabulary) > frame.vocabulary:
            raise ValueError(
                f"`vocabulary` has {len(vocabulary)} tokens, and input `{frame.name}` takes "
                f"{frame.vocabulary or 'no'} ids: give the tokens that the model was trained with"
            )
        if vocabulary.length is None and length is not None and vocabulary.padding is not None:
            fixed = vocabulary.split != "given"
            vocabularies[frame.name] = replace(vocabulary, length=length) if fixed else vocabulary
    return vocabularies
