"""The formulas: one pure function per cell, arrays in, arrays out.

Dimension letters, everywhere in this package:

    B batch    T time steps    F input features    U units    P units of the projected state

Gate order along the last axis of a fused weight: LSTM `i|f|c|o`, coupled LSTM `f|c|o`, GRU `z|r|h`,
as in `keras.layers.LSTM` and `keras.layers.GRU`, so that weights copy over untouched.

Every function is written on `keras.ops` and runs on each Keras backend and on plain TensorFlow
tensors. What varies between variants of a cell comes in as a small function (`peek`, `mix`,
`affine`, the activations), so that each step reads like its equations. Each value that a device
rounds goes through `at(name, value)`, which does nothing unless a caller gives another `Points`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

Array = Any
Function = Callable[..., Array]


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


class Points:
    """What happens to the values of a step on their way: nothing.

    A subclass rounds them as a device does, or marks them for a converter.
    """

    def __call__(self, name: str, value: Array) -> Array:
        """The value of that name, as it goes on."""
        return value

    def part(self, name: str, state: str) -> "Points":
        """The points of a product of x and the point `state`; their names start with `name/`."""
        return self

    def function(self, name: str, f: Function, x: Array, of: str) -> Array:
        """`f(x)` of the value x at the point `of`, as the value of that name."""
        return self(name, f(x))

    def product(self, name: str, one: Array, other: Array, of: tuple[str, str]) -> Array:
        """The product of the values at two points, one by one, as the value of that name."""
        return self(name, one * other)

    def sum(self, name: str, one: Array, other: Array, of: tuple[str, str]) -> Array:
        """The sum of the values at two points, as the value of that name."""
        return self(name, one + other)

    def difference(self, name: str, one: Array, other: Array, of: tuple[str, str]) -> Array:
        """As `sum`."""
        return self(name, one - other)

    def weights(
        self, name: str, W: Array, b: Array | None = None, operand: str = "x"
    ) -> tuple[Array, Array | None]:
        """W and b of the product that gives the value of that name.

        W has its outputs along the last axis; `operand` is "x", "state" or a point.
        """
        return W, b

    def vector(self, name: str, v: Array, operand: str) -> Array:
        """Weights that meet the values at a point one by one, and give the value of that name."""
        return v


EXACT = Points()


def affine(W: Array, R: Array, b: Array | None = None, at: Points = EXACT) -> Function:
    """`x·W + h·R + b` as a function of x (B, F) and h (B, P); W (F, N), R (P, N), b (N,)."""
    W, b = at.weights("xW", W, b)
    of_state = recurrent(R, at)
    return lambda x, h: of_state(at("xW", plus_bias(ops.matmul(x, W), b)), h)


def recurrent(R: Array, at: Points = EXACT) -> Function:
    """`a + h·R` as a function of a (B, N), the point "xW", and h (B, P)."""
    R, _ = at.weights("hR", R, operand="state")
    return lambda a, h: at.sum("a", a, at("hR", ops.matmul(h, R)), of=("xW", "hR"))


def affine_joined(W: Array, R: Array, b: Array | None = None, at: Points = EXACT) -> Function:
    """`[x, h]·[W; R] + b`: the same value as `affine` by one wider product, for inference."""
    W_and_R = ops.concatenate([W, R], axis=0)
    return lambda x, h: at("a", plus_bias(ops.matmul(ops.concatenate([x, h], axis=-1), W_and_R), b))


def bias_as_row(affine: Function) -> Function:
    """The same `affine`, of an x that `ends_in_one`: `[x, 1]·[W; b]` is `x·W + b`."""

    def of_weights(W: Array, R: Array, b: Array | None = None, at: Points = EXACT) -> Function:
        row = ops.zeros_like(W[:1]) if b is None else ops.expand_dims(b, axis=0)
        return affine(ops.concatenate([W, row], axis=0), R, None, at)

    return of_weights


def ends_in_one(x: Array) -> Array:
    """X (..., F) with a 1 after its last feature, (..., F + 1)."""
    return ops.concatenate([x, ops.ones_like(x[..., :1])], axis=-1)


def plus_bias(z: Array, b: Array | None) -> Array:
    """`z + b`; right after a product, so that TensorFlow does both at once."""
    return z if b is None else ops.add(z, b)


def lstm_gates(z: Array, coupled: bool = False) -> Gates:
    """Split pre-activations (B, 4U), or (B, 3U) of a coupled LSTM, into gates of (B, U).

    A coupled LSTM has no input gate of its own: its i is computed from f's pre-activation.
    """
    if coupled:
        f, g, o = ops.split(z, 3, axis=-1)
        return Gates(f, f, g, o)
    return Gates(*ops.split(z, 4, axis=-1))


def lstm_step(
    z: Gates, c: Array, act: Gates, tanh: Function, at: Points = EXACT
) -> tuple[Array, Array]:
    """LSTM (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    z holds the pre-activations `x·W + h·R + b`, c (B, U) the cell state; returns h', c' (B, U).
    """
    i = at.function("i", act.i, z.i, of="a")
    f = at.function("f", act.f, z.f, of="a")
    g = at.function("g", act.g, z.g, of="a")
    o = at.function("o", act.o, z.o, of="a")
    kept = at.product("f*c", f, c, of=("f", "c"))
    c = at.sum("c", kept, at.product("i*g", i, g, of=("i", "g")), of=("f*c", "i*g"))
    h = at.product("h", o, at.function("tanh_c", tanh, c, of="c"), of=("o", "tanh_c"))
    return h, c


def peephole_lstm_step(
    z: Gates,
    c: Array,
    p: Peepholes,
    act: Gates,
    tanh: Function,
    peek: Function,
    output_sees: Function,
    at: Points = EXACT,
) -> tuple[Array, Array]:
    """LSTM whose gates see the cell state (Gers & Schmidhuber 2000); `peek(c, p)` says how.

    `output_sees(c, c')` picks the cell state that the output gate looks at.
    """
    seen_by = {gate: ("a", f"peek_{gate}") for gate in "ifo"}
    a_i = at.sum("a_i", z.i, at("peek_i", peek(c, p.i)), of=seen_by["i"])
    a_f = at.sum("a_f", z.f, at("peek_f", peek(c, p.f)), of=seen_by["f"])
    i = at.function("i", act.i, a_i, of="a_i")
    f = at.function("f", act.f, a_f, of="a_f")
    g = at.function("g", act.g, z.g, of="a")
    kept = at.product("f*c", f, c, of=("f", "c"))
    c_new = at.sum("c", kept, at.product("i*g", i, g, of=("i", "g")), of=("f*c", "i*g"))
    seen = at("peek_o", peek(output_sees(c, c_new), p.o))
    o = at.function("o", act.o, at.sum("a_o", z.o, seen, of=seen_by["o"]), of="a_o")
    h = at.product("h", o, at.function("tanh_c", tanh, c_new, of="c"), of=("o", "tanh_c"))
    return h, c_new


def gru_step(
    x: Array,
    h: Array,
    seen: Array,
    gates: Function,
    candidate: Function,
    sigmoid: Function,
    tanh: Function,
    mix: Function,
    at: Points = EXACT,
) -> Array:
    """GRU with the reset gate before the product (Cho et al. 2014); returns h' (B, U).

    x (B, F), h (B, U), `seen` (B, U) what the gates see of h: all of it, but for dropout; `gates`
    and `candidate` are the `affine` of z|r and that of g, their weights as from `gru_columns`.
    """
    both = at.function("z|r", sigmoid, gates(x, seen), of="gates/a")
    z, r = ops.split(both, 2, axis=-1)
    reset = at.product("r*h", r, seen, of=("z|r", "h"))
    g = at.function("g", tanh, candidate(x, reset), of="candidate/a")
    return mix(z, h, g, at, "z|r")


def gru_reset_after_step(
    x: Array,
    h: Array,
    seen: Array,
    W: Array,
    R: Array,
    b: tuple[Array | None, Array | None],
    sigmoid: Function,
    tanh: Function,
    mix: Function,
    at: Points = EXACT,
) -> Array:
    """GRU with the reset gate after the product, cuDNN's form; returns h' (B, U).

    x (B, F), h and `seen` as for `gru_step`, W (F, 3U), R (U, 3U), b the input's bias and the
    state's, (3U,) each; r scales the state's.
    """
    b_x, b_h = b
    from_x = at("xW", plus_bias(ops.matmul(x, W), b_x))
    from_h = at("hR", plus_bias(ops.matmul(seen, R), b_h))
    x_z, x_r, x_g = ops.split(from_x, 3, axis=-1)
    h_z, h_r, h_g = ops.split(from_h, 3, axis=-1)
    of = ("xW", "hR")
    z = at.function("z", sigmoid, at.sum("a_z", x_z, h_z, of), of="a_z")
    r = at.function("r", sigmoid, at.sum("a_r", x_r, h_r, of), of="a_r")
    a_g = at.sum("a_g", x_g, at.product("r*h", r, h_g, of=("r", "hR")), of=("xW", "r*h"))
    g = at.function("g", tanh, a_g, of="a_g")
    return mix(z, h, g, at, "z")


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


def toward_candidate(z: Array, h: Array, g: Array, at: Points = EXACT, of: str = "z") -> Array:
    """`(1-z)∘h + z∘g`, by one product: z, the value at the point `of`, weighs the candidate g."""
    d = at.difference("d", g, h, of=("g", "h"))
    return at.sum("h", h, at.product("z*d", z, d, of=(of, "d")), of=("h", "z*d"))


def toward_state(z: Array, h: Array, g: Array, at: Points = EXACT, of: str = "z") -> Array:
    """`z∘h + (1-z)∘g`, by one product: z, the value at the point `of`, weighs the old state h."""
    d = at.difference("d", h, g, of=("h", "g"))
    return at.sum("h", g, at.product("z*d", z, d, of=(of, "d")), of=("g", "z*d"))


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


def complement(activation: Function, at: Points = EXACT, of: str = "a") -> Function:
    """`1 - activation(a)`: the input gate of a coupled LSTM, from the forget gate's.

    `of` is the point that a is the value of.
    """
    return lambda a: 1.0 - at.function("f", activation, a, of)
