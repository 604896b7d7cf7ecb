"""The inputs, outputs and states of a file as C++ sees them."""

import re
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from kgated_edge.format.manifest import Manifest

from kgated.deploy.tflite import flatbuffer


@dataclass(frozen=True)
class Port:
    """An input, output or state.

    Attributes:
        name: in the sources, such as `in_frame`.
        key: in the file's signature.
        tensor: its tensor.
        input_index, output_index: its place among the interpreter's inputs and outputs, or -1.
    """

    name: str
    key: str
    tensor: schema.TensorT
    input_index: int = -1
    output_index: int = -1

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.tensor.shape))

    @property
    def ctype(self) -> str:
        """The C++ type of its numbers."""
        return f"std::{flatbuffer.type_name(self.tensor)}_t"

    @property
    def scale_and_zero_point(self) -> tuple[float, int]:
        """Its quantization parameters; 1 and 0 for plain integers."""
        return flatbuffer.scale_and_zero_point(self.tensor) or (1.0, 0)

    @property
    def constant(self) -> str:
        """The line that defines its constants."""
        scale, zero_point = self.scale_and_zero_point
        fields = f"{self.input_index}, {self.output_index}, {self.size}, {scale!r}f, {zero_point}"
        return f"constexpr Tensor k_{self.name} = {{{fields}}};"


@dataclass(frozen=True)
class Ports:
    """All inputs, outputs and states of the main signature."""

    inputs: list[Port]
    outputs: list[Port]
    states: list[Port]

    @classmethod
    def of(cls, tflite: bytes, manifest: Manifest) -> "Ports":
        """Those of a file, each at its place in the interpreter."""
        model = flatbuffer.parse(tflite)
        signature, states = flatbuffer.main_signature(model), [s.name for s in manifest.states]
        graph = model.subgraphs[signature.subgraphIndex]
        tensors, _ = flatbuffer.signature(model)
        sides = ((signature.inputs, graph.inputs), (signature.outputs, graph.outputs))
        into, out = (
            {entry.name.decode(): list(indices).index(entry.tensorIndex) for entry in entries}
            for entries, indices in sides
        )
        results = {n: graph.tensors[graph.outputs[index]] for n, index in out.items()}
        return cls(
            [Port(_name("in", n), n, tensors[n], into[n]) for n in into if n not in states],
            [
                Port(_name("out", n), n, results[n], output_index=out[n])
                for n in out
                if n not in states
            ],
            [Port(_name("state", n), n, tensors[n], into[n], out[n]) for n in states],
        )


def identifier(name: str) -> str:
    """A name as C++ takes it."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _name(kind: str, name: str) -> str:
    return f"{kind}_{identifier(name)}"
