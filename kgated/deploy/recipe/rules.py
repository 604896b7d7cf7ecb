"""Choices of a recipe that exclude each other, each with what to do instead."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

QUANTIZE_OF_C = ("none", "dynamic", "dynamic4", "int8")


@dataclass(frozen=True)
class Rule:
    """Two choices that exclude each other.

    Attributes:
        is_broken: whether a recipe has both.
        message: the error, a format string of `recipe` and `skip`.
    """

    is_broken: Callable[[Any], bool]
    message: str


RULES = (
    Rule(
        lambda recipe: recipe.calibration_method != "minmax" and not recipe.is_static,
        "`calibration_method` is of ranges, which `quantize={recipe.quantize!r}` has none of; "
        "leave it out. Received: {recipe.calibration_method!r}",
    ),
    Rule(
        lambda recipe: recipe.target == "mcu" and recipe.batch > 1,
        "`target='mcu'` makes C++ sources for one sequence at a time; leave `batch` at 1. "
        "Received: {recipe.batch}",
    ),
    Rule(
        lambda recipe: recipe.target == "c" and recipe.quantize not in QUANTIZE_OF_C,
        "`target='c'` has float32, int8 weights and int8 throughout; take `quantize='none'`, "
        "'dynamic', 'dynamic4' or 'int8'. Received: {recipe.quantize!r}",
    ),
    Rule(
        lambda recipe: (recipe.target, recipe.mode, recipe.quantize) == ("c", "sequence", "int8"),
        "`target='c'` runs a sequence as the steps of a stream, which have scales of their own in "
        "int8; take `mode='stream'`, or `quantize='dynamic'`",
    ),
    Rule(
        lambda recipe: recipe.target == "c" and recipe.state == "internal",
        "`target='c'` keeps the state in the caller's struct; leave `state` at 'external'",
    ),
    Rule(
        lambda recipe: recipe.sessions > 1 and (recipe.mode, recipe.batch) != ("stream", 1),
        "`sessions` is for `mode='stream'` with a `batch` of 1: its sessions take their steps in "
        "any order, and a batch steps all at once; leave one out. Received: {recipe.sessions}",
    ),
    Rule(
        lambda recipe: recipe.sessions > 1 and recipe.state == "internal",
        "`sessions` needs `state='external'`: each session has its own. "
        "Received: {recipe.sessions}",
    ),
    Rule(
        lambda recipe: recipe.sessions > 1 and recipe.target != "cpu",
        "`target={recipe.target!r}` makes sources for one stream at a time; leave `sessions` out. "
        "Received: {recipe.sessions}",
    ),
    Rule(
        lambda recipe: recipe.block > 1 and recipe.mode != "stream",
        "`block` is for `mode='stream'`: a sequence takes all of its frames in one call; leave it "
        "out. Received: {recipe.block}",
    ),
    Rule(
        lambda recipe: recipe.results != "auto" and recipe.block == 1,
        "`results` is of the frames of a `block`, and this is 1; give a `block`, or leave it out. "
        "Received: {recipe.results!r}",
    ),
    Rule(
        lambda recipe: bool(recipe.skip) and recipe.quantization.is_float,
        "`skip` names layers to keep in float, and `quantize='none'` keeps all; "
        "leave it out. Received: {skip}",
    ),
    Rule(
        lambda recipe: recipe.mode == "stream" and recipe.lowering != "auto",
        "`lowering` is for `mode='sequence'`; a stream takes its steps one by one. "
        "Received: {recipe.lowering!r}",
    ),
    Rule(
        lambda recipe: recipe.mode == "sequence" and recipe.state == "internal",
        "`state='internal'` is for `mode='stream'`: a sequence keeps no state",
    ),
    Rule(
        lambda recipe: recipe.is_static and recipe.state == "internal",
        "`state='internal'` keeps floats in the file, which `quantize={recipe.quantize!r}` "
        "has none of; take `state='external'`, or `quantize='dynamic'`",
    ),
    Rule(
        lambda recipe: recipe.target == "mcu" and recipe.lowering == "while",
        "`target='mcu'` takes no loops, whose memory its arena is not measured for; take "
        "`lowering='unrolled'`, 'fused' or `mode='stream'`. Received: 'while'",
    ),
    Rule(
        lambda recipe: recipe.target == "mcu" and (not recipe.is_static or bool(recipe.skip)),
        "`target='mcu'` computes in integers throughout; take `quantize='int8'` or "
        "'int16x8' and no `skip`. Received: {recipe.quantize!r}, skip {skip}",
    ),
)
