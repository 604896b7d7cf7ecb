"""The inputs of a model over sequences: frames, tokens, or one value for the whole sequence."""

from dataclasses import dataclass
from typing import Any

import keras
from kgated_edge.format.manifest import LENGTHS

from kgated.deploy.sequence.preprocessing import check_preprocessing
from kgated.deploy.sequence.time_axis import Lengths
from kgated.errors import ConversionError
from kgated.keras_internals.graph import check_graph, plain_name, replay

INPUT = "frames"


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: in the file.
        shape: of one frame, or of the value where there is one for the sequence.
        is_timed: whether there is a value per frame.
        vocabulary: the number of tokens, where it takes tokens.
    """

    name: str
    shape: tuple[int, ...]
    is_timed: bool
    vocabulary: int | None

    def tensor(self, batch: int | None, length: int | None) -> Any:
        """The symbolic input (batch, length, *shape), or (batch, *shape)."""
        time = (length,) if self.is_timed else ()
        dtype = "float32" if self.vocabulary is None else "int32"
        return keras.Input(batch_shape=(batch, *time, *self.shape), dtype=dtype, name=self.name)


def inputs_of(model: keras.Model) -> tuple[list[Input], int | None]:
    """The inputs in the model's order, and the number of frames that the model's `Input` has.

    Frames have a free length. Where no length is free, the layers say which inputs have frames;
    all other inputs, and every vector that no Embedding reads, are one value for the sequence.

    Raises:
        ConversionError: no input is a sequence, or one has an axis without a size.
    """
    check_graph(model)
    check_preprocessing(model)
    tokens, taken = _vocabularies(model), {LENGTHS.name}
    several = len(model.inputs) > 1
    candidates = [n for n, x in enumerate(model.inputs) if len(x.shape) > 2 or n in tokens]
    timed, size = _timed_inputs(model, candidates)
    inputs = []
    for n, x in enumerate(model.inputs):
        shape = tuple(x.shape[2 if n in timed else 1 :])
        if not candidates or None in shape or 0 in shape or len(x.shape) < 2:
            raise ConversionError(
                f"model `{model.name}` takes inputs of shape {x.shape} and dtype {x.dtype}; needed "
                "is (batch, time, features) with a fixed number of features, or (batch, time) of "
                "tokens into an Embedding, and beside them vectors of a fixed size; compute them "
                "before the model"
            )
        name = plain_name(x.name if several else INPUT, taken)
        inputs.append(Input(name, shape, n in timed, tokens.get(n)))
    return inputs, size


def _timed_inputs(model: keras.Model, candidates: list[int]) -> tuple[list[int], int | None]:
    """The places of the inputs with frames, and how many frames they have; None for any number."""
    sizes = {n: model.inputs[n].shape[1] for n in candidates}
    if None in sizes.values():
        return [n for n, size in sizes.items() if size is None], None
    if len(candidates) < 2 or any(None in x.shape[1:] for x in model.inputs):
        return candidates, next(iter(sizes.values()), None)
    shapes = [(1, *x.shape[1:]) for x in model.inputs]
    by_input = {n: Lengths(model, shapes, sizes[n]).with_more_frames([n]) for n in candidates}
    # The first that can grow and that a recurrent layer reads, or that can grow, or the first.
    first = min(candidates, key=lambda n: (by_input[n].failures > 0, not by_input[n].reads_time))
    size, timed = sizes[first], [first]
    lengths = Lengths(model, shapes, size)
    for n in candidates:
        if n == first or sizes[n] != size:
            continue
        failures = lengths.with_more_frames([*timed, n]).failures
        if by_input[first].failures or failures <= lengths.with_more_frames(timed).failures:
            timed.append(n)
    return sorted(timed), size


def length_of(model: keras.Model, length: int | None, max_length: int | None) -> int:
    """T: `length` or `max_length`, or what the model's `Input` says.

    Raises:
        ValueError: both are given, none is known, or it is no integer of at least 1.
        ConversionError: as from `inputs_of`.
    """
    if length is not None and max_length is not None:
        raise ValueError("`length` and `max_length` exclude each other. Received both")
    name, size = ("max_length", max_length) if length is None else ("length", length)
    if size is None:
        name, (_, size) = "length", inputs_of(model)
    if size is None:
        raise ValueError(
            "the model takes sequences of any length: give `length`, or `max_length` for "
            "sequences that may be shorter"
        )
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {size!r}")
    return size


def _vocabularies(model: keras.Model) -> dict[int, int]:
    """The size of the vocabulary of each input (B, N) of tokens, by its index."""
    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in model.inputs]
    places = {id(x): n for n, x in enumerate(inputs) if len(x.shape) == 2}
    vocabularies: dict[int, int] = {}
    if not places:
        return vocabularies

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        size = _token_count(layer)
        if size is not None and id(args[0]) in places:
            place = places[id(args[0])]
            vocabularies[place] = min(size, vocabularies.get(place, size))
        return layer(*args, **kwargs)

    replay(model, inputs if len(inputs) > 1 else inputs[0], call)
    return vocabularies


def _token_count(layer: Any) -> int | None:
    """How many tokens a layer knows; None for one that reads none."""
    if isinstance(layer, keras.layers.Embedding):
        return int(layer.input_dim)
    return int(layer.num_tokens) if isinstance(layer, keras.layers.CategoryEncoding) else None
