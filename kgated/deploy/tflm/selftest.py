"""The golden frames of a file as a C++ self-test."""

from collections.abc import Iterable
from string import Template

import numpy as np
from kgated_edge.format.manifest import LENGTHS, Manifest

from kgated.deploy.tflm.ports import Port, Ports

NUMBERS_PER_LINE = 12
# In quantization steps of the output: how far the runtime's kernels may be from LiteRT's, on which
# the golden tolerance was measured.
KERNEL_STEPS = 8

_TEST = Template("""\
// The golden frames of the conversion, as the model's integers, and what the Keras model computes
// on them.
$arrays
constexpr std::size_t kGoldenFrames = $frames;
constexpr std::size_t kGoldenResults = $results;

// Whether numbers of a tensor have the values expected, within a tolerance.
template <class Number>
bool Agrees(const Number* numbers, const float* expected, std::size_t count, const Tensor& tensor,
            float tolerance) {
  for (std::size_t n = 0; n < count; ++n)
    if (!(std::fabs(Dequantize(numbers[n], tensor) - expected[n]) <= tolerance)) return false;
  return true;
}

// Runs the golden frames; true where every result agrees with the Keras model's. Call it once on
// a new device or after a change of the firmware.
template <class Interpreter>
bool SelfTest(Interpreter& interpreter) {
$body
}
""")


def self_test(ports: Ports, manifest: Manifest) -> str:
    """The constants and the function `SelfTest` of the header."""
    golden = manifest.golden
    results = len(next(iter(golden.outputs.values())))
    frames = max(len(x) for x in golden.frames.values())
    arrays = [_array(port, _quantized(port, golden.frames[port.key])) for port in _framed(ports)]
    for port in ports.outputs:
        arrays.append(_floats(port, golden.outputs[port.key]))
        arrays.append(_tolerance(port, golden.tolerance))
    stream = manifest.mode == "stream"
    body = _stream_body(ports) if stream else _sequence_body(ports, manifest, frames)
    return _TEST.substitute(
        arrays="\n".join(arrays),
        frames=frames // manifest.frames_per_step if stream else frames,
        results=results,
        body="\n".join(f"  {line}" for line in body),
    )


def _framed(ports: Ports) -> list[Port]:
    return [port for port in ports.inputs if port.key != LENGTHS.name]


def _quantized(port: Port, values: np.ndarray) -> list[str]:
    if values.dtype.kind in "iu":
        return [str(n) for n in values.ravel()]
    scale, zero_point = port.scale_and_zero_point
    limits = np.iinfo(port.ctype.removeprefix("std::").removesuffix("_t"))
    numbers = np.rint(values.ravel() / np.float32(scale)) + zero_point
    return [str(int(n)) for n in np.clip(numbers, limits.min, limits.max)]


def _array(port: Port, numbers: list[str]) -> str:
    return f"constexpr {port.ctype} kGolden_{port.name}[] = {{\n{_wrapped(numbers)}}};"


def _floats(port: Port, values: np.ndarray) -> str:
    numbers = [f"{x!s}f" for x in values.astype(np.float32).ravel()]
    return f"constexpr float kGolden_{port.name}[] = {{\n{_wrapped(numbers)}}};"


def _tolerance(port: Port, tolerance: float) -> str:
    total = np.float32(tolerance + KERNEL_STEPS * port.scale_and_zero_point[0])
    return f"constexpr float kTolerance_{port.name} = {total!s}f;"


def _wrapped(numbers: list[str]) -> str:
    rows = (numbers[n : n + NUMBERS_PER_LINE] for n in range(0, len(numbers), NUMBERS_PER_LINE))
    return "".join(f"    {', '.join(row)},\n" for row in rows)


def _stream_body(ports: Ports) -> Iterable[str]:
    """A step for each golden frame or block, the last results compared."""
    arguments = [f"kGolden_{p.name} + n * k_{p.name}.size" for p in ports.inputs]
    arguments += [p.name for p in ports.outputs]
    if ports.states:
        yield from ("State state;", "Reset(state);")
        arguments.insert(0, "state")
    yield from (f"{p.ctype} {p.name}[{p.size}];" for p in ports.outputs)
    yield "for (std::size_t n = 0; n < kGoldenFrames; ++n) {"
    yield f"  if (!Run(interpreter, {', '.join(arguments)})) return false;"
    yield "  if (n + kGoldenResults < kGoldenFrames) continue;"
    yield "  const std::size_t result = n + kGoldenResults - kGoldenFrames;"
    for p in ports.outputs:
        expected = f"kGolden_{p.name} + result * k_{p.name}.size"
        compared = f"{p.name}, {expected}, k_{p.name}.size, k_{p.name}, kTolerance_{p.name}"
        yield f"  if (!Agrees({compared}))"
        yield "    return false;"
    yield from ("}", "return true;")


def _sequence_body(ports: Ports, manifest: Manifest, frames: int) -> Iterable[str]:
    """One call on the golden frames, repeated up to the length, its last results compared."""
    for p in ports.inputs:
        data = f"{p.ctype}* {p.name} = static_cast<{p.ctype}*>("
        yield f"{data}interpreter.input(k_{p.name}.input)->data.data);"
        if p.key == LENGTHS.name:
            yield f"{p.name}[0] = kGoldenFrames;"
            continue
        count = f"(sizeof(kGolden_{p.name}) / sizeof({p.ctype}))"
        yield f"for (std::size_t n = 0; n < k_{p.name}.size; ++n)"
        yield f"  {p.name}[n] = kGolden_{p.name}[n % {count}];"
    yield "if (interpreter.Invoke() != 0) return false;"
    length = frames if manifest.padded else manifest.frames_per_step
    for p in ports.outputs:
        total = manifest.golden.outputs[p.key].size
        offset = _numbers(p, manifest, length) - total
        numbers = f"static_cast<const {p.ctype}*>(interpreter.output(k_{p.name}.output)->data.data)"
        yield f"if (!Agrees({numbers} + {offset},"
        yield f"            kGolden_{p.name}, {total}, k_{p.name}, kTolerance_{p.name}))"
        yield "  return false;"
    yield "return true;"


def _numbers(port: Port, manifest: Manifest, length: int) -> int:
    """How many numbers an output has for so many frames."""
    spec = next(spec for spec in manifest.outputs if spec.name == port.key)
    return spec.size * (length if manifest.is_timed(spec) else 1)
