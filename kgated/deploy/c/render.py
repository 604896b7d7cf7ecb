"""A file's step as a C header and a source file."""

from pathlib import Path
from typing import Any

import jinja2
from ai_edge_litert import schema_py_generated as schema
from kgated_edge.format.manifest import Manifest

from kgated.deploy.c.ahead import INTEGERS
from kgated.deploy.c.code import C_TYPES, Code
from kgated.deploy.c.elementwise import literal
from kgated.deploy.c.graph import Graph
from kgated.deploy.c.memory import MEMBERS
from kgated.deploy.c.nodes import session_lines, single_lines
from kgated.deploy.c.ports import Port, Ports, identifier
from kgated.deploy.c.program import Program, write_program
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable

MARK = "/* Made by kgated"
TANH_ERROR, SIGMOID_ERROR = 4e-7, 2.5e-7
"""How far the C functions are from the exact ones, at most."""
_CTYPES_OF_MEMBERS = {member: C_TYPES[dtype] for dtype, member in MEMBERS.items()}
_OWN_PREFIXES = ("kg", "kgated")
"""Of the functions that the sources have for themselves."""
_SIZES = {"float": 4, "int32_t": 4, "int16_t": 2, "int8_t": 1, "uint8_t": 1}


def sources(
    tflite: bytes, manifest: Manifest, stem: str, sequence: Manifest | None = None
) -> tuple[str, str]:
    """The text of the header and of the source.

    Args:
        tflite: the file of a stream.
        manifest: what its tensors are.
        stem: the sources' name without suffix, which the names in them begin with.
        sequence: the manifest of the file of whole sequences that the sources are for, of the same
            model; None: they are for the stream.

    Raises:
        ConversionError: an operator that C cannot express.
    """
    model = flatbuffer.parse(tflite)
    ports = Ports.of(manifest, (sequence or manifest).golden)
    written = _program(model, LayerTable.from_names(model), ports, sequence is not None)
    if any(port.is_quantized for port in (*ports.inputs, *ports.outputs)):
        written.code.use("integers")
    fields = _fields(written, ports, manifest, stem)
    if sequence is not None:
        fields |= _sequence_fields(sequence, manifest)
    environment = _environment()
    header, source = (
        environment.get_template(f"model.{suffix}.j2").render(fields) for suffix in ("h", "c")
    )
    return header, source


def check_operators(model: schema.ModelT, layers: LayerTable) -> None:
    """Refuse a file with an operator that C cannot express.

    Raises:
        ConversionError: with the operator's name and the layer that it comes from.
    """
    graph = Graph.of(model, layers)
    names = {name: identifier(name) for name in (*graph.inputs, *graph.outputs)}
    write_program(graph, {}, names)


def _program(model: schema.ModelT, layers: LayerTable, ports: Ports, is_sequence: bool) -> Program:
    states = {port.spec.name: port.name for port in ports.states}
    names = {port.spec.name: port.name for port in (*ports.inputs, *ports.outputs)}
    return write_program(Graph.of(model, layers), states, names, is_sequence)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("kgated.deploy.c"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML
    )


def _fields(written: Program, ports: Ports, manifest: Manifest, stem: str) -> dict[str, Any]:
    code, prefix = written.code, prefix_of(stem)
    work = [(_CTYPES_OF_MEMBERS[m], m, n) for m, n in code.memory.sizes.items()]
    work += [(_CTYPES_OF_MEMBERS[m.split("_")[-1]], m, n) for m, n in code.scratch.items()]
    ahead = [("float", product.name, product.size) for product in written.ahead]
    if ahead:
        ahead.append(("int8_t", INTEGERS, max(product.columns for product in written.ahead)))
    return {
        "mark": MARK,
        "stem": stem,
        "p": prefix,
        "P": prefix.upper(),
        "tflite": f"{stem}.tflite",
        "sequence": None,
        "step": f"{prefix}_step",
        "kernels": code.kernels,
        "constants": code.constants,
        "lines": single_lines(written.nodes),
        "together_lines": []
        if written.ahead
        else session_lines(written.nodes, _of_a_session(ports)),
        "has_turn": _has_turn(code),
        "work": work,
        "ahead": ahead,
        "products": written.ahead,
        "ahead_lines": written.ahead_lines,
        "tanh_error": TANH_ERROR,
        "sigmoid_error": SIGMOID_ERROR,
        **vars(ports),
        **_sizes(written, ports, work + ahead),
        **_facts(manifest),
    }


def _of_a_session(ports: Ports) -> dict[str, str]:
    """The declarations of one session's inputs and outputs, by name."""
    const = [(port, "const ") for port in ports.inputs] + [(port, "") for port in ports.outputs]
    return {
        port.name: f"{kind}{port.ctype} *const {port.name} = {port.name}_rows + row * {port.size};"
        for port, kind in const
    }


def _sequence_fields(manifest: Manifest, stream: Manifest) -> dict[str, Any]:
    """The fields of the templates that differ for whole sequences.

    The C code has the numbers of the stream, which may be quantized where the sequence is not.
    """
    facts = _facts(manifest)
    facts["tolerance"] = literal(max(manifest.golden.tolerance, stream.golden.tolerance))
    if not manifest.padded:
        facts["golden_steps"] = manifest.frames_per_step
    sequence = {
        "length": manifest.frames_per_step,
        "padded": manifest.padded,
        "timed": [spec.name for spec in manifest.outputs if manifest.is_timed(spec)],
    }
    return {**facts, "sequence": sequence, "step": "kg_step"}


def _sizes(written: Program, ports: Ports, work: list[tuple[str, str, int]]) -> dict[str, int]:
    """Bytes of flash and of RAM."""
    constants = sum(constant.bytes for constant in written.code.constants)
    framed = [*ports.inputs, *ports.outputs]
    golden = sum(4 * port.golden_values.size for port in framed if port.golden_values is not None)
    states = _bytes(ports.states)
    held = _bytes([port for port in framed if port.is_quantized])
    turn = 4 if _has_turn(written.code) else 0
    ram = 4 + turn + states + held + sum(_SIZES[ctype] * size for ctype, _, size in work)
    return {
        "flash": constants + golden,
        "golden_bytes": golden,
        "ram": -(-ram // 4) * 4,
        "state_ram": states,
    }


def _has_turn(code: Code) -> bool:
    """Whether the step has a product that reads its weights in turns forwards and backwards."""
    return bool({"dot_s8", "dot_s4"} & code.kernels)


def _bytes(ports: list[Port]) -> int:
    return sum(_SIZES[port.ctype] * port.size for port in ports)


def _facts(manifest: Manifest) -> dict[str, Any]:
    """The fields of the manifest besides the tensors."""
    period, golden = manifest.sample_period_s, manifest.golden
    size = 1 if manifest.mode == "sequence" else manifest.frames_per_step
    frames = len(next(iter(golden.frames.values()))) // size
    return {
        "recipe": f"{manifest.mode}, {manifest.recipe['quantize']}",
        "digest": manifest.file_sha256,
        "batch": manifest.batch,
        "golden_frames": frames,
        "golden_steps": frames,
        "golden_results": len(next(iter(golden.outputs.values()))) // manifest.results_per_step,
        "tolerance": literal(golden.tolerance),
        "frames_per_step": manifest.frames_per_step,
        "labels": [_literal(label) for label in manifest.labels or ()],
        "sample_period_s": None if period is None else repr(float(period)),
    }


def _literal(text: str) -> str:
    """A C string in UTF-8; octal escapes, unlike hexadecimal ones, end after three digits."""
    safe = (chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in text.encode())
    return '"' + "".join(safe) + '"'


def prefix_of(stem: str) -> str:
    """The prefix of the names in the sources."""
    name = identifier(stem)
    is_taken = name in _OWN_PREFIXES or name.startswith("kg_")
    return f"model_{name}" if is_taken or not name[:1].isalpha() else name


def source_paths(path: Path) -> tuple[Path, Path]:
    """NAME.h and NAME.c beside NAME.tflite."""
    return path.with_suffix(".h"), path.with_suffix(".c")
