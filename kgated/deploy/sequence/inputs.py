"""What the inputs of a model over whole sequences are: frames, tokens, or one value for all."""

from dataclasses import dataclass
from typing import Any

import keras
from kgated_edge.format.manifest import LENGTHS

from kgated.errors import ConversionError
from kgated.keras_graph import check_graph, plain_name, replay

INPUT = "frames"


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: in the file.
        shape: of one frame, or of the value where there is one for the sequence.
        is_timed: whether there is a value per frame.
        vocabulary: how many tokens there are, where it takes tokens.
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
    """The inputs in the model's order, and how many frames it says that a sequence has.

    Frames are what has a free length, or else what is as long as the first input of frames or
    tokens; everything else, and every vector that no Embedding reads, is one value.

    Raises:
        ConversionError: no input is a sequence, or one has an axis without a size.
    """
    check_graph(model)
    tokens, taken = _vocabularies(model), {LENGTHS.name}
    several = len(model.inputs) > 1
    like = [n for n, x in enumerate(model.inputs) if len(x.shape) > 2 or n in tokens]
    lengths = [model.inputs[n].shape[1] for n in like]
    size = None if None in lengths else next(iter(lengths), None)
    found = []
    for n, x in enumerate(model.inputs):
        is_timed = n in like and x.shape[1] == size
        shape = tuple(x.shape[2 if is_timed else 1 :])
        if not like or None in shape or 0 in shape or len(x.shape) < 2:
            raise ConversionError(
                f"model `{model.name}` takes inputs of shape {x.shape}; needed is (batch, time, "
                "features) with a fixed number of features, or (batch, time) of tokens, and beside "
                "them vectors of a fixed size"
            )
        name = plain_name(x.name if several else INPUT, taken)
        found.append(Input(name, shape, is_timed, tokens.get(n)))
    return found, size


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
    """By the place of an input (B, N) that an Embedding reads, how many tokens that knows."""
    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in model.inputs]
    places = {id(x): n for n, x in enumerate(inputs) if len(x.shape) == 2}
    found: dict[int, int] = {}
    if not places:
        return found

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.layers.Embedding) and id(args[0]) in places:
            place = places[id(args[0])]
            found[place] = min(layer.input_dim, found.get(place, layer.input_dim))
        return layer(*args, **kwargs)

    replay(model, inputs if len(inputs) > 1 else inputs[0], call)
    return found
