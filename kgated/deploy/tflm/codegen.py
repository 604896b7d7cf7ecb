"""Writes a file as C++ sources for firmware with TensorFlow Lite Micro."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kgated_edge.format.manifest import Manifest

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflm.arena import arena_bytes
from kgated.deploy.tflm.kernels import method
from kgated.deploy.tflm.operators import check_operators
from kgated.deploy.tflm.ports import Port, Ports, identifier
from kgated.deploy.tflm.selftest import self_test
from kgated.deploy.tflm.templates import HEADER, MARK, SOURCE, STATE

BYTES_PER_LINE = 16


@dataclass(frozen=True)
class Sources:
    """The text of the two files, and the size of the working memory they ask for, in bytes."""

    header: str
    source: str
    arena_bytes: int


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
    ports, namespace = Ports.of(tflite, manifest), f"kgated_{identifier(stem)}"
    fields = {
        "mark": MARK,
        "stem": stem,
        "namespace": namespace,
        "guard": f"KGATED_{identifier(stem).upper()}_H_",
        "recipe": f"{manifest.mode}, {manifest.recipe['quantize']}",
        "bytes": len(tflite),
        "arena": arena,
        "operators": len(methods),
        "registrations": _lines(f"  failed += resolver.{name}() != 0;" for name in methods),
        "data": _data(tflite),
        "facts": _facts(manifest),
        "usage": _usage(ports, namespace),
        "state": _state(ports.states),
        "selftest": self_test(ports, manifest),
        **_run(ports),
    }
    return Sources(HEADER.substitute(fields), SOURCE.substitute(fields), arena)


def _usage(ports: Ports, namespace: str) -> str:
    lines = [f"//   {namespace}::SelfTest(interpreter);  // once: the golden frames"]
    if ports.states:
        lines += [f"//   {namespace}::State state;", f"//   {namespace}::Reset(state);"]
    state = "state, " if ports.states else ""
    call = f"//   {namespace}::Run(interpreter, {state}...);"
    return _lines([*lines, f"{call}  // once for each frame, or each sequence"])


def _facts(manifest: Manifest) -> str:
    """The labels of the first output and the time from frame to frame, where they are known."""
    lines = []
    if manifest.labels:
        labels = ", ".join(_literal(label) for label in manifest.labels)
        lines += [
            "",
            "// The names of the first output's entries.",
            f"constexpr const char* kLabels[] = {{{labels}}};",
        ]
    if manifest.sample_period_s is not None:
        lines += [
            "",
            "// The time from one frame to the next.",
            f"constexpr float kSamplePeriodSeconds = {float(manifest.sample_period_s)!r}f;",
        ]
    return _lines([*lines, ""])


def _literal(text: str) -> str:
    """A C string in UTF-8; octal escapes, unlike hexadecimal ones, end after three digits."""
    safe = (chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in text.encode())
    return '"' + "".join(safe) + '"'


def _state(states: list[Port]) -> str:
    if not states:
        return ""
    members = (f"  {port.ctype} {port.name}[{port.size}];" for port in states)
    fill = (
        f"  for (auto& n : state.{port.name}) n = static_cast<{port.ctype}>"
        f"(k_{port.name}.zero_point);"
        for port in states
    )
    return STATE.substitute(members=_lines(members), fill=_lines(fill))


def _run(ports: Ports) -> dict[str, str]:
    """The lines that name tensors, and the function `Run`."""
    inputs, outputs, states = ports.inputs, ports.outputs, ports.states
    parameters = ["State& state"] if states else []
    parameters += [f"const {port.ctype}* {port.name}" for port in inputs]
    parameters += [f"{port.ctype}* {port.name}" for port in outputs]
    return {
        "constants": _lines(port.constant for port in (*inputs, *outputs, *states)),
        "parameters": ", ".join(parameters),
        "write": _lines(
            f"  std::memcpy(interpreter.input(k_{port.name}.input)->data.data, {value}, {size});"
            for port, value, size in _variables(inputs, states)
        ),
        "read": _lines(
            f"  std::memcpy({value}, interpreter.output(k_{port.name}.output)->data.data, {size});"
            for port, value, size in _variables(outputs, states)
        ),
    }


def _variables(ports: list[Port], states: list[Port]) -> list[tuple[Port, str, str]]:
    """Each port with the variable that holds its numbers, and its size in bytes."""
    pairs = [(port, port.name) for port in ports]
    pairs += [(port, f"state.{port.name}") for port in states]
    return [(p, value, f"k_{p.name}.size * sizeof({p.ctype})") for p, value in pairs]


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(texts)


def _data(tflite: bytes) -> str:
    rows = (tflite[n : n + BYTES_PER_LINE] for n in range(0, len(tflite), BYTES_PER_LINE))
    return _lines("    " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)


def source_paths(path: Path) -> tuple[Path, Path]:
    """NAME.h and NAME.cc beside NAME.tflite."""
    return path.with_suffix(".h"), path.with_suffix(".cc")


def source_files(path: Path, generated: Sources) -> dict[Path, bytes]:
    """The content of each of the two files."""
    texts = generated.header.encode(), generated.source.encode()
    return dict(zip(source_paths(path), texts, strict=True))
