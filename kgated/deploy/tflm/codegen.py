"""A file as C++ sources, for a firmware to compile beside TensorFlow Lite Micro."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from kgated_edge.format.manifest import Manifest

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflm.arena import arena_bytes
from kgated.deploy.tflm.operators import check_operators, method

BYTES_PER_LINE = 16


@dataclass(frozen=True)
class Sources:
    """The text of the two files, and the size of the working memory they ask for, in bytes."""

    header: str
    source: str
    arena_bytes: int


@dataclass(frozen=True)
class _Port:
    """An input, output or state: its name in the sources, and its place in the model."""

    name: str
    tensor: schema.TensorT
    place_in: int = -1
    place_out: int = -1

    @property
    def size(self) -> int:
        return int(np.prod(self.tensor.shape))

    @property
    def number(self) -> str:
        return f"std::{flatbuffer.type_name(self.tensor)}_t"

    @property
    def constant(self) -> str:
        scale, zero_point = flatbuffer.scale_and_zero_point(self.tensor) or (1.0, 0)
        numbers = f"{self.place_in}, {self.place_out}, {self.size}, {scale!r}f, {zero_point}"
        return f"constexpr Tensor k_{self.name} = {{{numbers}}};"


def sources(tflite: bytes, manifest: Manifest, stem: str) -> Sources:
    """The C++ sources of a file.

    Args:
        tflite: the file, for a signature with external states or none.
        manifest: what its tensors are.
        stem: the sources' name without suffix; the namespace is `kgated_` and this name.

    Raises:
        ConversionError: an operator that the runtime does not have.
    """
    model = flatbuffer.parse(tflite)
    names = check_operators(model, LayerTable.from_names(model))
    methods, arena = [method(name) for name in names], arena_bytes(tflite)
    fields = {
        "mark": MARK,
        "stem": stem,
        "namespace": f"kgated_{_identifier(stem)}",
        "guard": f"KGATED_{_identifier(stem).upper()}_H_",
        "recipe": f"{manifest.mode}, {manifest.recipe['quantize']}",
        "bytes": len(tflite),
        "arena": arena,
        "operators": len(methods),
        "registrations": _lines(f"  failed += resolver.{one}() != 0;" for one in methods),
        "data": _data(tflite),
        **_code(*_ports(tflite, manifest)),
    }
    return Sources(_HEADER.substitute(fields), _SOURCE.substitute(fields), arena)


def _code(inputs: list[_Port], outputs: list[_Port], states: list[_Port]) -> dict[str, str]:
    """The lines that name tensors."""
    zeros = ((one, f"static_cast<{one.number}>(k_{one.name}.zero_point)") for one in states)
    parameters = [f"const {one.number}* {one.name}" for one in inputs]
    parameters += [f"{one.number}* {one.name}" for one in outputs]
    return {
        "constants": _lines(port.constant for port in (*inputs, *outputs, *states)),
        "members": _lines(f"  {one.number} {one.name}[{one.size}];" for one in states),
        "fill": _lines(f"  for (auto& n : state.{one.name}) n = {zero};" for one, zero in zeros),
        "parameters": ", ".join(parameters),
        "write": _lines(
            f"  std::memcpy(interpreter.input(k_{one.name}.input)->data.data, {value}, {size});"
            for one, value, size in _values(inputs, states)
        ),
        "read": _lines(
            f"  std::memcpy({value}, interpreter.output(k_{one.name}.output)->data.data, {size});"
            for one, value, size in _values(outputs, states)
        ),
    }


def _ports(tflite: bytes, manifest: Manifest) -> tuple[list[_Port], list[_Port], list[_Port]]:
    """Inputs, outputs and states, each at its place among the interpreter's own."""
    model = flatbuffer.parse(tflite)
    signature, states = flatbuffer.main_signature(model), [one.name for one in manifest.states]
    graph = model.subgraphs[signature.subgraphIndex]
    tensors, _ = flatbuffer.signature(model)
    sides = ((signature.inputs, graph.inputs), (signature.outputs, graph.outputs))
    into, out = (
        {entry.name.decode(): list(indices).index(entry.tensorIndex) for entry in entries}
        for entries, indices in sides
    )
    return (
        [_Port(f"in_{_identifier(n)}", tensors[n], into[n]) for n in into if n not in states],
        [
            _Port(f"out_{_identifier(n)}", graph.tensors[graph.outputs[out[n]]], place_out=out[n])
            for n in out
            if n not in states
        ],
        [_Port(f"state_{_identifier(n)}", tensors[n], into[n], out[n]) for n in states],
    )


def _values(ports: list[_Port], states: list[_Port]) -> list[tuple[_Port, str, str]]:
    """Each port with the variable that holds its numbers, and its size in bytes."""
    variables = [(one, one.name) for one in ports] + [(one, f"state.{one.name}") for one in states]
    return [(one, name, f"k_{one.name}.size * sizeof({one.number})") for one, name in variables]


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(texts)


def _data(tflite: bytes) -> str:
    rows = (tflite[n : n + BYTES_PER_LINE] for n in range(0, len(tflite), BYTES_PER_LINE))
    return _lines("    " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)


MARK = "// Made by kgated"
_HEADER = Template("""\
$mark ($recipe). Needs C++17 and, where the templates are used, TensorFlow Lite Micro:
//
//   tflite::MicroMutableOpResolver<$namespace::kOperators> resolver;
//   $namespace::AddOperators(resolver);
//   alignas(16) static std::uint8_t arena[$namespace::kArenaBytes];
//   tflite::MicroInterpreter interpreter(tflite::GetModel($namespace::kModel), resolver, arena,
//                                        $namespace::kArenaBytes);
//   interpreter.AllocateTensors();
//   $namespace::State state;
//   $namespace::Reset(state);
//   $namespace::Run(interpreter, state, ...);  // once for each frame, or each sequence
#ifndef $guard
#define $guard

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace $namespace {

extern const unsigned char kModel[];
constexpr std::size_t kModelBytes = $bytes;
// An upper bound with the runtime's reference kernels; optimized ones may ask for more.
constexpr std::size_t kArenaBytes = $arena;

// Where a tensor is among the interpreter's inputs and outputs (-1: it is none), how many numbers
// it has, and what they mean: value = scale * (number - zero_point).
struct Tensor {
  int input;
  int output;
  std::size_t size;
  float scale;
  int zero_point;
};
$constants

constexpr int kOperators = $operators;

// Registers every operator of the model; true on success.
template <class Resolver>
bool AddOperators(Resolver& resolver) {
  int failed = 0;
$registrations
  return failed == 0;
}

// What is kept from one call to the next.
struct State {
$members
};

// The state before the first frame.
inline void Reset(State& state) {
  (void)state;
$fill
}

// A value as a number of a tensor, the nearest that there is.
template <class Number>
Number Quantize(float value, const Tensor& tensor) {
  constexpr float most = static_cast<float>((1 << (8 * sizeof(Number) - 1)) - 1);
  const float number = std::nearbyint(value / tensor.scale) + static_cast<float>(tensor.zero_point);
  return static_cast<Number>(std::fmin(std::fmax(number, -most - 1.0f), most));
}

// A number of a tensor as a value.
template <class Number>
float Dequantize(Number number, const Tensor& tensor) {
  return tensor.scale * static_cast<float>(static_cast<int>(number) - tensor.zero_point);
}

// One call of the model; true on success. The state is kept outside of the arena, in which the
// runtime may lay an output over an input.
template <class Interpreter>
bool Run(Interpreter& interpreter, State& state, $parameters) {
  (void)state;
$write
  if (interpreter.Invoke() != 0) return false;
$read
  return true;
}

}  // namespace $namespace

#endif  // $guard
""")

_SOURCE = Template("""\
$mark ($recipe).
#include "$stem.h"

namespace $namespace {

alignas(16) const unsigned char kModel[] = {
$data
};

}  // namespace $namespace
""")


def source_paths(path: Path) -> tuple[Path, Path]:
    """NAME.h and NAME.cc beside NAME.tflite."""
    return path.with_suffix(".h"), path.with_suffix(".cc")


def check_source_paths(path: Path) -> None:
    """Refuse to write over sources that are somebody else's.

    Raises:
        FileExistsError: one of them is there, and was not made here.
    """
    for one in source_paths(path):
        if one.exists() and not one.read_bytes().startswith(MARK.encode()):
            raise FileExistsError(
                f"can't write {one}: it is no file of kgated; name another output"
            )


def source_files(path: Path, made: Sources) -> dict[Path, bytes]:
    """What goes into which of the two."""
    texts = made.header.encode(), made.source.encode()
    return dict(zip(source_paths(path), texts, strict=True))
