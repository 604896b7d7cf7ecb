"""Methods of all models besides running: text to ids and back, decisions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError, FrameError
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array
from kgated_edge.format.vocabulary import Vocabulary
from kgated_edge.text.codec import Ids, decode, encode, encode_all


class TextMethods:
    """Methods of a runner whose file may have a vocabulary and labels."""

    __slots__ = ()

    @property
    def manifest(self) -> Manifest:
        """The manifest in the file."""
        raise NotImplementedError

    def encode(self, text: Any) -> Ids:
        """The ids (T,) int32 of a text, or (N, T) of several, by the file's vocabulary.

        Raises:
            EdgeError: the file has no vocabulary, or one for each of several inputs.
            FrameError: as from `kgated_edge.text.encode`.
        """
        return encode(self._vocabulary(), text)

    def decode(self, ids: Any) -> str:
        """The text of ids (T,), by the file's vocabulary; raises as `encode`."""
        return decode(self._vocabulary(), ids)

    def decide(self, output: Array) -> Any:
        """The decision of one result of the first output.

        Returns:
            its label, or its number where the file has no labels: of the largest entry, and for an
            output of one number 1 from `manifest.threshold` on, else 0.
        """
        decision = int(self.manifest.decide(np.asarray(output)))
        labels = self.manifest.labels
        return decision if labels is None else labels[decision]

    def _vocabulary(self) -> Vocabulary:
        vocabulary = self.manifest.vocabulary
        if vocabulary is None:
            raise EdgeError(
                "the file has no vocabulary, or several: convert the model with `vocabulary`, or "
                "use kgated_edge.text.encode(manifest.vocabularies[name], text)"
            )
        return vocabulary


def is_text(value: Any) -> bool:
    """Whether it is a string, or an array or list of strings."""
    if isinstance(value, str | bytes):
        return True
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, str | bytes) for item in value)
    return isinstance(value, np.ndarray) and value.dtype.kind in "USO"


def texts_to_ids(manifest: Manifest, inputs: Mapping[str, Any], lengths: Any) -> tuple[Any, Any]:
    """The inputs of a call with ids in place of texts, and the lengths of the rows of a batch.

    Args:
        manifest: of the file.
        inputs: by name; a text for a batch of 1, B texts for a batch of B.
        lengths: those given, or None.

    Raises:
        FrameError: a text for an input without a vocabulary, or as from `encode`.
    """
    changed = dict(inputs)
    for name, value in inputs.items():
        if not is_text(value):
            continue
        vocabulary = manifest.vocabularies.get(name)
        if vocabulary is None:
            raise FrameError(
                f"the file has no vocabulary for input `{name}`: pass ids, or convert the model "
                "with `vocabulary`"
            )
        if manifest.batch == 1:
            ids = encode(vocabulary, value)
            one_text = vocabulary.split != "given" and ids.ndim == 2 and len(ids) == 1
            changed[name] = ids[0] if one_text else ids
            continue
        changed[name], counts = encode_all(vocabulary, value)
        lengths = counts if lengths is None and manifest.padded else lengths
    return changed, lengths
