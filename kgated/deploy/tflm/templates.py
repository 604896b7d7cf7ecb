"""The C++ text of the generated sources."""

from string import Template

MARK = "// Made by kgated"
HEADER = Template("""\
$mark ($recipe). Needs C++11 and, where the templates are used, TensorFlow Lite Micro:
//
//   tflite::MicroMutableOpResolver<$namespace::kOperators> resolver;
//   $namespace::AddOperators(resolver);
//   alignas(16) static std::uint8_t arena[$namespace::kArenaBytes];
//   tflite::MicroInterpreter interpreter(tflite::GetModel($namespace::kModel), resolver, arena,
//                                        $namespace::kArenaBytes);
//   interpreter.AllocateTensors();
$usage
//
// Inputs, outputs and states are addressed by name: their order differs between files.
#ifndef $guard
#define $guard

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

namespace $namespace {

extern const unsigned char kModel[];
constexpr std::size_t kModelBytes = $bytes;
// An upper bound with the runtime's reference kernels; optimized ones may ask for more.
constexpr std::size_t kArenaBytes = $arena;

// The index of a tensor among the interpreter's inputs and outputs, or -1, its size in numbers, and
// its quantization parameters: value = scale * (number - zero_point).
struct Tensor {
  int input;
  int output;
  std::size_t size;
  float scale;
  int zero_point;
};
$constants
$facts
constexpr int kOperators = $operators;

// Registers every operator of the model; true on success.
template <class Resolver>
bool AddOperators(Resolver& resolver) {
  int failed = 0;
$registrations
  return failed == 0;
}

$state// The number of a tensor nearest to a value: `Quantize<std::int8_t>(value, k_in_...)`.
template <class Number>
Number Quantize(float value, const Tensor& tensor) {
  static_assert(sizeof(Number) < 4, "tokens are no quantized values: pass them as they are");
  constexpr float max = static_cast<float>(std::numeric_limits<Number>::max());
  const float number = std::nearbyint(value / tensor.scale) + static_cast<float>(tensor.zero_point);
  return static_cast<Number>(std::fmin(std::fmax(number, -max - 1.0f), max));
}

// The value of a tensor's number.
template <class Number>
float Dequantize(Number number, const Tensor& tensor) {
  return tensor.scale * static_cast<float>(static_cast<int>(number) - tensor.zero_point);
}

// One call of the model; true on success.
template <class Interpreter>
bool Run(Interpreter& interpreter, $parameters) {
$write
  if (interpreter.Invoke() != 0) return false;
$read
  return true;
}

$selftest
}  // namespace $namespace

#endif  // $guard
""")

SOURCE = Template("""\
$mark ($recipe).
#include "$stem.h"

namespace $namespace {

alignas(16) const unsigned char kModel[] = {
$data
};

}  // namespace $namespace
""")


STATE = Template("""\
// The states that are carried from one call to the next, outside of the arena, in which the runtime
// may place an output over an input.
struct State {
$members
};

// Sets the state before the first frame.
inline void Reset(State& state) {
$fill
}

""")
