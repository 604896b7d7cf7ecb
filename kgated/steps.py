"""The formulas: one pure function per cell, arrays in, arrays out.

Dimension letters, everywhere in this package:

    B batch    T time steps    F input features    U units    P units of the projected state

Gate order along the last axis of a fused weight: LSTM `i|f|c|o`, coupled LSTM `f|c|o`, GRU `z|r|h`,
as in `keras.layers.LSTM` and `keras.layers.GRU`, so that weights copy over untouched.

Every function is written on `keras.ops` and runs on each Keras backend and on plain TensorFlow
tensors. Variants of a cell differ in small functions that are arguments (`peek`, `mix`, `affine`,
the activations), so that each step reads like its equations. Each value that a device rounds is a
quantization point and goes through `hook(name, value)`, which returns it unchanged by default.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from kgated.quantization_hook import Array as Array
from kgated.quantization_hook import Function as Function
from kgated.quantization_hook import QuantizationHook


class Gates(NamedTuple):
    """One entry per gate of an LSTM: pre-activations (B, U), or activation functions."""

    i: Any
    f: Any
    g: Any
    o: Any


class Peepholes(NamedTuple):
    """Peephole weights per gate: (U,) each when diagonal, (U, U) each when full."""

    i: Array
    f: Array
    o: Array


EXACT = QuantizationHook()


def affine(W: Array, R: Array, b: Array | None = None, hook: QuantizationHook = EXACT) -> Function:
    """`x·W + h·R + b` as a function of x (B, F) and h (B, P); W (F, N), R (P, N), b (N,)."""
    W, b = hook.weights("xW", W, b)
    of_state = recurrent(R, hook)
    return lambda x, h: of_state(hook("xW", plus_bias(ops.matmul(x, W), b)), h)


def recurrent(R: Array, hook: QuantizationHook = EXACT) -> Function:
    """`a + h·R` as a function of a (B, N), the point "xW", and h (B, P)."""
    R, _ = hook.weights("hR", R, operand="state")
    return lambda a, h: hook.sum("a", a, hook("hR", ops.matmul(h, R)), of=("xW", "hR"))


def affine_joined(
    W: Array, R: Array, b: Array | None = None, hook: QuantizationHook = EXACT
) -> Function:
    """As `affine`, by one wider product `[x, h]·[W; R] + b`; faster in inference."""
    W_and_R = ops.concatenate([W, R], axis=0)
    return lambda x, h: hook(
        "a", plus_bias(ops.matmul(ops.concatenate([x, h], axis=-1), W_and_R), b)
    )


def bias_as_row(affine: Function) -> Function:
    """The same `affine` for an x from `ends_in_one`: `[x, 1]·[W; b]` is `x·W + b`."""

    def of_weights(
        W: Array, R: Array, b: Array | None = None, hook: QuantizationHook = EXACT
    ) -> Function:
        row = ops.zeros_like(W[:1]) if b is None else ops.expand_dims(b, axis=0)
        return affine(ops.concatenate([W, row], axis=0), R, None, hook)

    return of_weights


def ends_in_one(x: Array) -> Array:
    """X (..., F) with a 1 after its last feature, (..., F + 1)."""
    return ops.concatenate([x, ops.ones_like(x[..., :1])], axis=-1)


def plus_bias(z: Array, b: Array | None) -> Array:
    """`z + b`; directly after a matrix product TensorFlow fuses the two."""
    return z if b is None else ops.add(z, b)


def lstm_gates(z: Array, coupled: bool = False) -> Gates:
    """Split pre-activations (B, 4U), or (B, 3U) of a coupled LSTM, into gates of (B, U).

    A coupled LSTM computes its input gate from the pre-activation of the forget gate.
    """
    if coupled:
        f, g, o = ops.split(z, 3, axis=-1)
        return Gates(f, f, g, o)
    return Gates(*ops.split(z, 4, axis=-1))


def lstm_step(
    z: Gates, c: Array, act: Gates, tanh: Function, hook: QuantizationHook = EXACT
) -> tuple[Array, Array]:
    """LSTM (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    z holds the pre-activations `x·W + h·R + b`, c (B, U) the cell state; returns h', c' (B, U).
    """
    i = hook.function("i", act.i, z.i, of="a")
    f = hook.function("f", act.f, z.f, of="a")
    g = hook.function("g", act.g, z.g, of="a")
    o = hook.function("o", act.o, z.o, of="a")
    remembered = hook.product("f*c", f, c, of=("f", "c"))
    c = hook.sum("c", remembered, hook.product("i*g", i, g, of=("i", "g")), of=("f*c", "i*g"))
    h = hook.product("h", o, hook.function("tanh_c", tanh, c, of="c"), of=("o", "tanh_c"))
    return h, c


def peephole_lstm_step(
    z: Gates,
    c: Array,
    p: Peepholes,
    act: Gates,
    tanh: Function,
    peek: Function,
    output_cell_state: Function,
    hook: QuantizationHook = EXACT,
) -> tuple[Array, Array]:
    """LSTM with peepholes (Gers & Schmidhuber 2000); `peek(c, p)` multiplies c by peephole weights.

    `output_cell_state(c, c')` returns the one of the two that the output gate uses.
    """
    operands = {gate: ("a", f"peek_{gate}") for gate in "ifo"}
    a_i = hook.sum("a_i", z.i, hook("peek_i", peek(c, p.i)), of=operands["i"])
    a_f = hook.sum("a_f", z.f, hook("peek_f", peek(c, p.f)), of=operands["f"])
    i = hook.function("i", act.i, a_i, of="a_i")
    f = hook.function("f", act.f, a_f, of="a_f")
    g = hook.function("g", act.g, z.g, of="a")
    remembered = hook.product("f*c", f, c, of=("f", "c"))
    c_new = hook.sum("c", remembered, hook.product("i*g", i, g, of=("i", "g")), of=("f*c", "i*g"))
    peek_o = hook("peek_o", peek(output_cell_state(c, c_new), p.o))
    o = hook.function("o", act.o, hook.sum("a_o", z.o, peek_o, of=operands["o"]), of="a_o")
    h = hook.product("h", o, hook.function("tanh_c", tanh, c_new, of="c"), of=("o", "tanh_c"))
    return h, c_new


def gru_step(
    x: Array,
    h: Array,
    h_in: Array,
    gates: Function,
    candidate: Function,
    sigmoid: Function,
    tanh: Function,
    mix: Function,
    hook: QuantizationHook = EXACT,
) -> Array:
    """GRU with the reset gate before the product (Cho et al. 2014); returns h' (B, U).

    x (B, F), h (B, U), `h_in` (B, U) h with recurrent dropout, as the gates take it; `gates` and
    `candidate` are the `affine` functions of z|r and of g, their weights as from `gru_columns`.
    """
    z_and_r = hook.function("z|r", sigmoid, gates(x, h_in), of="gates/a")
    z, r = ops.split(z_and_r, 2, axis=-1)
    reset = hook.product("r*h", r, h_in, of=("z|r", "h"))
    g = hook.function("g", tanh, candidate(x, reset), of="candidate/a")
    return mix(z, h, g, hook, "z|r")


def gru_reset_after_step(
    x: Array,
    h: Array,
    h_in: Array,
    W: Array,
    R: Array,
    b: tuple[Array | None, Array | None],
    sigmoid: Function,
    tanh: Function,
    mix: Function,
    hook: QuantizationHook = EXACT,
) -> Array:
    """GRU with the reset gate after the product, cuDNN's form; returns h' (B, U).

    x (B, F), h and `h_in` as for `gru_step`, W (F, 3U), R (U, 3U), b the biases of `x·W` and of
    `h·R`, (3U,) each.
    """
    b_x, b_h = b
    from_x = hook("xW", plus_bias(ops.matmul(x, W), b_x))
    from_h = hook("hR", plus_bias(ops.matmul(h_in, R), b_h))
    x_z, x_r, x_g = ops.split(from_x, 3, axis=-1)
    h_z, h_r, h_g = ops.split(from_h, 3, axis=-1)
    of = ("xW", "hR")
    z = hook.function("z", sigmoid, hook.sum("a_z", x_z, h_z, of), of="a_z")
    r = hook.function("r", sigmoid, hook.sum("a_r", x_r, h_r, of), of="a_r")
    a_g = hook.sum("a_g", x_g, hook.product("r*h", r, h_g, of=("r", "hR")), of=("xW", "r*h"))
    g = hook.function("g", tanh, a_g, of="a_g")
    return mix(z, h, g, hook, "z")


def min_gru_step(z: Array, g: Array, h: Array, hook: QuantizationHook = EXACT) -> Array:
    """MinGRU (Feng et al. 2024) from z's pre-activation and the candidate g, (B, U) each."""
    return toward_candidate(hook.function("z", ops.sigmoid, z, of="a_z"), h, g, hook, "z")


def min_gru_coefficients(z: Array, g: Array) -> tuple[Array, Array]:
    """The factor of h and the summand of the same step, `h' = (1-z)∘h + z∘g`."""
    z = ops.sigmoid(z)
    return 1.0 - z, z * g


def min_lstm_step(f: Array, i: Array, g: Array, h: Array, hook: QuantizationHook = EXACT) -> Array:
    """MinLSTM (Feng et al. 2024) from the pre-activations f, i and the candidate g, (B, U) each."""
    return toward_state(normalized_forget_gate(f, i, hook), h, g, hook, "f")


def min_lstm_coefficients(f: Array, i: Array, g: Array) -> tuple[Array, Array]:
    """The factor of h and the summand of the same step, `h' = f/(f+i)∘h + i/(f+i)∘g`."""
    f = normalized_forget_gate(f, i)
    return f, (1.0 - f) * g


def normalized_forget_gate(f: Array, i: Array, hook: QuantizationHook = EXACT) -> Array:
    """`σ(f)/(σ(f) + σ(i))`, as `σ(log σ(f) - log σ(i))`, which does not divide by small numbers."""
    log_f = hook.function("log_f", ops.log_sigmoid, f, of="a_f")
    log_i = hook.function("log_i", ops.log_sigmoid, i, of="a_i")
    a = hook.difference("a", log_f, log_i, of=("log_f", "log_i"))
    return hook.function("f", ops.sigmoid, a, of="a")


class Columns(NamedTuple):
    """A block of columns of a GRU's fused weights: W (F, N), R (U, N), b (N,) or None."""

    W: Array
    R: Array
    b: Array | None


def gru_columns(W: Array, R: Array, b: Array | None) -> tuple[Columns, Columns]:
    """Split a GRU's fused weights into the columns of z|r and those of the candidate."""
    n = 2 * R.shape[0]
    gates = Columns(W[:, :n], R[:, :n], None if b is None else b[:n])
    candidate = Columns(W[:, n:], R[:, n:], None if b is None else b[n:])
    return gates, candidate


def diagonal(c: Array, p: Array) -> Array:
    """A peephole per unit: `p ∘ c`, c (B, U), p (U,)."""
    return c * p


def full(c: Array, p: Array) -> Array:
    """A peephole from every unit to every unit: `c·p`, c (B, U), p (U, U)."""
    return ops.matmul(c, p)


def toward_candidate(
    z: Array, h: Array, g: Array, hook: QuantizationHook = EXACT, of: str = "z"
) -> Array:
    """`(1-z)∘h + z∘g`, with one product; z is the value at the point `of`."""
    d = hook.difference("d", g, h, of=("g", "h"))
    return hook.sum("h", h, hook.product("z*d", z, d, of=(of, "d")), of=("h", "z*d"))


def toward_state(
    z: Array, h: Array, g: Array, hook: QuantizationHook = EXACT, of: str = "z"
) -> Array:
    """`z∘h + (1-z)∘g`, with one product; z is the value at the point `of`."""
    d = hook.difference("d", h, g, of=("h", "g"))
    return hook.sum("h", g, hook.product("z*d", z, d, of=(of, "d")), of=("g", "z*d"))


def normalized(activation: Function, gain: Array, bias: Array | None) -> Function:
    """The activation of a layer-normalized gate: `activation(gain∘(a-μ)/√(σ²+1e-8) + bias)`.

    μ and σ² are taken over the units, a (B, U) (Ba et al. 2016; the TFLite kernel's epsilon), in
    float32 at least: the epsilon is nothing in float16.
    """

    def normalize(a: Array) -> Array:
        a = standardized(a) * gain
        return activation(a if bias is None else a + bias)

    return normalize


def standardized(a: Array) -> Array:
    """`(a-μ)/√(σ²+1e-8)` over the last axis, in float32 at least; returns a's dtype."""
    dtype = keras.backend.standardize_dtype(a.dtype)
    a = ops.cast(a, keras.backend.result_type(dtype, "float32"))
    centred = a - ops.mean(a, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    return ops.cast(centred * ops.rsqrt(variance + 1e-8), dtype)


def complement(activation: Function, hook: QuantizationHook = EXACT, of: str = "a") -> Function:
    """`1 - activation(a)`: the input gate of a coupled LSTM, from the forget gate's.

    `of` is the point whose value is a.
    """
    return lambda a: 1.0 - hook.function("f", activation, a, of)
