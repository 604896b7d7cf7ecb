"""Builds the Keras model of a design: mean of k frames, low-rank kernels, recurrent layers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from inspect import signature
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.dataset_info import DataInfo

from kgated.data import zero_padded
from kgated.models.sequence import accepted, described
from kgated.optimize import masks
from kgated.optimize.weights import matrices, values_of
from kgated.search.design.space import Design
from kgated.study.models import ModelOptions, cell_layers, front_layers, output_layer
from kgated.study.splits import Parts

FRONT = "mean_of_frames"


def build(design: Design, options: ModelOptions) -> keras.Sequential:
    """The untrained model of a design, for frames that are means of `stride` frames already.

    With a rank of d, a Dense layer without bias and activation before each recurrent layer reduces
    its n inputs to n / d: a kernel as the product of two. Where the cell has a projection, that
    reduces the state to units / d, and so the rank of the recurrent kernel.

    Args:
        design: the model.
        options: its `frames` are those after the mean.
    """
    task, seeds = options.task, options.random_seeds(4 * design.layers + 1)
    stack = front_layers(options, masked=not task.per_frame)
    size: Any = getattr(stack[-1], "output_dim", options.frames.shape[-1])  # of an embedding
    for n in range(design.layers):
        stack += _low_rank(design, size, f"rank_{n + 1}", seeds)
        each = task.per_frame or n < design.layers - 1
        stack.append(_recurrent(design, f"recurrent_{n + 1}", each, seeds))
        stack.append(
            keras.layers.Dropout(options.dropout, seed=next(seeds), name=f"dropout_{n + 1}")
        )
        size = output_size(design)
    stack.append(output_layer(options, next(seeds)))
    return described(stack, design.model_name, options.info)


def with_frame_means(
    model: keras.Sequential, design: Design, info: DataInfo | None
) -> keras.Sequential:
    """The model with a first layer that takes the mean of each k frames; k is the stride."""
    if design.stride == 1:
        return model
    front = keras.layers.AveragePooling1D(design.stride, name=FRONT)
    return described(
        [keras.Input((None, model.input_shape[-1])), front, *model.layers], model.name, info
    )


def frame_means(data: SequenceData, stride: int, per_frame: bool) -> SequenceData:
    """The means of each `stride` frames; the last frames are left out if they are fewer.

    Args:
        data: sequences of `stride` frames or more.
        stride: k.
        per_frame: whether there is a target per frame.

    Returns:
        The sequences with lengths // k frames.
    """
    if stride == 1:
        return data
    x = zero_padded(data)
    steps = x.shape[1] // stride
    means = x[:, : steps * stride].reshape(len(x), steps, stride, -1).mean(axis=2)
    y = data.y
    if per_frame:  # the target of a step is that of its last frame
        y = np.asarray(y)[:, stride - 1 :: stride][:, :steps]
    short = replace(data, x=means.astype(np.float32), lengths=data.lengths // stride, y=y)
    return replace(short, x=zero_padded(short))


def parts_of_frame_means(parts: Parts, stride: int) -> Parts:
    """The data to train on, as means of `stride` frames; see `frame_means`."""
    train, validation = (
        frame_means(data, stride, parts.task.per_frame) for data in (parts.train, parts.validation)
    )
    return replace(parts, train=train, validation=validation)


def zero_smallest_weights(model: keras.Model, sparsity: float) -> None:
    """Set this fraction of each weight matrix to zero, as pruning does."""
    for group in matrices(model).values():
        for weight in group:
            values = values_of(weight)
            weight.assign(values * masks.largest(np.abs(values), sparsity))


def output_size(design: Design) -> int:
    """The size of a recurrent layer's output, which a projection reduces."""
    if not _has_projection(design):
        return design.units
    return max(1, design.units // design.rank)


def _low_rank(design: Design, size: int, name: str, seeds: Iterator[int]) -> list[keras.Layer]:
    seed = next(seeds)
    if design.rank == 1 or size // design.rank < 1:
        return []
    initializer = keras.initializers.GlorotUniform(seed)
    units = size // design.rank
    return [keras.layers.Dense(units, use_bias=False, kernel_initializer=initializer, name=name)]


def _recurrent(design: Design, name: str, each: bool, seeds: Iterator[int]) -> keras.Layer:
    layer = cell_layers()[design.cell]
    kernel = keras.initializers.GlorotUniform(next(seeds))
    options: dict[str, Any] = {"kernel_initializer": kernel, "name": name}
    recurrent_seed = next(seeds)
    options["recurrent_initializer"] = keras.initializers.Orthogonal(seed=recurrent_seed)
    if _has_projection(design):
        options["projection_units"] = output_size(design)
    return layer(design.units, return_sequences=each, **accepted(layer, options))


def _has_projection(design: Design) -> bool:
    layer: Callable[..., Any] = cell_layers()[design.cell]
    return design.rank > 1 and "projection_units" in signature(layer).parameters
