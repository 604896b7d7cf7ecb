"""Lookup layers in front of a model are cut off; their vocabularies go into the manifest."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from kgated_edge.format.vocabulary import Vocabulary

from kgated.errors import ConversionError
from kgated.keras_internals.graph import consumers, no_mask_warnings, producer, run_on
from kgated.keras_internals.inference_copies import has_graph
from kgated.models.language import LanguageModel

Text = keras.layers.TextVectorization
LOOKUPS = (keras.layers.StringLookup, keras.layers.IntegerLookup)


def cut_text(model: keras.Model) -> tuple[keras.Model, dict[int, Vocabulary]]:
    """The model from ids on, and the vocabulary of each input that took text.

    Args:
        model: any; one whose inputs no lookup layer reads is returned as it is.

    Returns:
        The model, with the same layers, and by the place of an input its vocabulary.

    Raises:
        ConversionError: a lookup layer that computes more than ids, or an input of text that
            another layer reads.
    """
    if isinstance(model, LanguageModel):
        return model, {0: Vocabulary(model.vocabulary, split="character")}
    if not has_graph(model):
        return model, {}
    graph = _flat(model)
    layers = {n: _lookup_of(graph, x) for n, x in enumerate(graph.inputs)}
    lookups = {n: layer for n, layer in layers.items() if layer is not None}
    if not lookups:
        return model, {}
    vocabularies = {n: vocabulary_of(layer) for n, layer in lookups.items()}
    return _without(graph, lookups), vocabularies


def vocabulary_of(layer: keras.layers.Layer) -> Vocabulary:
    """The vocabulary of a TextVectorization, StringLookup or IntegerLookup layer.

    Raises:
        ConversionError: the layer computes more than ids, or has no vocabulary yet.
    """
    config = layer.get_config()
    _check_layer(layer, config)
    tokens = _plain_tokens(layer)
    if not isinstance(layer, Text):
        mask = 0 if layer.mask_token is not None else None
        unknown = None if layer.num_oov_indices == 0 else 0 if mask is None else 1
        return Vocabulary(tokens, split="given", unknown=unknown, padding=mask)
    return Vocabulary(
        tokens,
        standardize=config["standardize"] or "none",
        split=config["split"] or "none",
        unknown=1,
        padding=0,
        length=config["output_sequence_length"],
    )


def _check_layer(layer: keras.layers.Layer, config: Mapping[str, Any]) -> None:
    """Refuse what the manifest can't express."""
    reasons = [
        (callable(config.get("standardize")), "a `standardize` function of your own"),
        (callable(config.get("split")), "a `split` function of your own"),
        (config.get("ngrams") is not None, "n-grams"),
        (config["output_mode"] != "int", f"output_mode={config['output_mode']!r}"),
        (config.get("invert", False), "an inverted lookup"),
        (config.get("num_oov_indices", 1) > 1, "several ids for unknown tokens"),
        (config.get("encoding", "utf-8").lower() != "utf-8", "an encoding beside UTF-8"),
    ]
    if reason := next((text for applies, text in reasons if applies), None):
        raise ConversionError(
            f"layer `{layer.name}` ({type(layer).__name__}) has {reason}, which a device does not "
            f"compute; convert the part after it, `keras.Model({layer.name}.output, model.output)`,"
            " and compute its input in your program"
        )
    if layer.vocabulary_size() <= (2 if isinstance(layer, Text) else 1):
        raise ConversionError(
            f"layer `{layer.name}` ({type(layer).__name__}) has no vocabulary: call its `adapt` or "
            "`set_vocabulary` before the conversion"
        )


def _plain_tokens(layer: Any) -> Any:
    tokens = [_plain(token) for token in layer.get_vocabulary()]
    if isinstance(layer, keras.layers.StringLookup) and layer.mask_token is not None:
        tokens[0] = layer.mask_token
    return tuple(tokens)


def _plain(token: Any) -> Any:
    """A token of Keras or NumPy as Python's own."""
    if isinstance(token, bytes):
        return token.decode(errors="replace")
    return token.item() if isinstance(token, np.generic) else token


def _flat(model: keras.Model) -> keras.Model:
    """The graph from the model's inputs, also where a Sequential wraps it."""
    return keras.Model(model.inputs, model.outputs)


def _lookup_of(graph: keras.Model, x: Any) -> Any:
    """The lookup layer that alone reads an input; None where the input is no text."""
    layer_ids = {id(layer) for layer in graph.layers}
    readers = [layer for layer in consumers(producer(x)) if id(layer) in layer_ids]
    lookups = [layer for layer in readers if isinstance(layer, (Text, *LOOKUPS))]
    if lookups and len(readers) == 1:
        return lookups[0]
    if lookups or x.dtype == "string":
        names = [f"`{layer.name}` ({type(layer).__name__})" for layer in readers]
        raise ConversionError(
            f"input `{x.name}` of text is read by {', '.join(names) or 'no layer'}; needed is one "
            "TextVectorization, StringLookup or IntegerLookup layer that makes ids of it"
        )
    return None


def _without(graph: keras.Model, lookups: Mapping[int, Any]) -> keras.Model:
    """The graph with inputs of ids in place of the lookup layers."""
    inputs = []
    for n, x in enumerate(graph.inputs):
        shape = lookups[n].compute_output_shape(x.shape) if n in lookups else x.shape
        dtype = "int32" if n in lookups else x.dtype
        inputs.append(keras.Input(shape[1:], dtype=dtype, name=x.name))
    removed = {id(layer) for layer in lookups.values()}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if id(layer) in removed else layer(*args, **kwargs)

    with no_mask_warnings():
        outputs = run_on(graph, inputs, call)
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=graph.name)
