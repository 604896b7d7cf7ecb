// Runs a stream file of kgated with LiteRT's C++ API.
//
//     stream MODEL.tflite < frames.txt
//
// Reads frames as numbers separated by blanks, and writes a line with the result of each step. Names,
// shapes, quantization parameters and states come out of the file: a state is an input that has the
// name of an output. Nothing here depends on a certain model.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "litert/cc/litert_compiled_model.h"
#include "litert/cc/litert_element_type.h"
#include "litert/cc/litert_environment.h"
#include "litert/cc/litert_tensor_buffer.h"

namespace {

constexpr char kStep[] = "step";

// The value of a call, or the end of the program with the reason.
template <typename T>
T Check(litert::Expected<T> result, const char* what) {
  if (!result) {
    std::fprintf(stderr, "%s: %s\n", what, result.Error().Message().c_str());
    std::exit(2);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

struct Tensor {
  std::string name;
  litert::ElementType type;
  std::size_t size;         // number of values, with a batch of 1
  float scale = 1;          // value = scale * (integer - zero_point)
  std::int64_t zero_point = 0;
  litert::TensorBuffer buffer;
};

using Quantization = litert::Expected<litert::QuantizationPerTensor>;

Tensor MakeTensor(litert::StringView name, litert::Expected<litert::RankedTensorType> expected_type,
                  const Quantization& quantization, litert::TensorBuffer buffer) {
  const litert::RankedTensorType type = Check(std::move(expected_type), "type of a tensor");
  std::size_t size = 1;
  for (const auto dimension : type.Layout().Dimensions()) size *= dimension;
  Tensor tensor{std::string(name), type.ElementType(), size, 1, 0, std::move(buffer)};
  if (quantization && tensor.type != litert::ElementType::Float32) {
    tensor.scale = quantization->scale;
    tensor.zero_point = quantization->zero_point;
  }
  return tensor;
}

template <typename T>
void Quantize(Tensor& tensor, const std::vector<float>& values) {
  std::vector<T> integers;
  for (const float value : values) {
    const double steps = std::nearbyint(value / tensor.scale) + tensor.zero_point;
    integers.push_back(static_cast<T>(std::fmin(std::fmax(steps, std::numeric_limits<T>::min()),
                                                std::numeric_limits<T>::max())));
  }
  Check(tensor.buffer.Write<T>(litert::Span<const T>(integers)), tensor.name.c_str());
}

template <typename T>
std::vector<float> Dequantize(Tensor& tensor) {
  std::vector<T> integers(tensor.size);
  Check(tensor.buffer.Read<T>(litert::Span<T>(integers)), tensor.name.c_str());
  std::vector<float> values;
  for (const T integer : integers) {
    values.push_back(tensor.scale * static_cast<float>(integer - tensor.zero_point));
  }
  return values;
}

[[noreturn]] void RefuseType(const Tensor& tensor) {
  std::fprintf(stderr, "%s: neither float32 nor int8 nor int16\n", tensor.name.c_str());
  std::exit(2);
}

void Write(Tensor& tensor, const std::vector<float>& values) {
  switch (tensor.type) {
    case litert::ElementType::Float32:
      Check(tensor.buffer.Write<float>(litert::Span<const float>(values)), tensor.name.c_str());
      return;
    case litert::ElementType::Int8:
      return Quantize<std::int8_t>(tensor, values);
    case litert::ElementType::Int16:
      return Quantize<std::int16_t>(tensor, values);
    default:
      RefuseType(tensor);
  }
}

std::vector<float> Read(Tensor& tensor) {
  std::vector<float> values(tensor.size);
  switch (tensor.type) {
    case litert::ElementType::Float32:
      Check(tensor.buffer.Read<float>(litert::Span<float>(values)), tensor.name.c_str());
      return values;
    case litert::ElementType::Int8:
      return Dequantize<std::int8_t>(tensor);
    case litert::ElementType::Int16:
      return Dequantize<std::int16_t>(tensor);
    default:
      RefuseType(tensor);
  }
}

// A model with its state.
class Stream {
 public:
  Stream(litert::Environment& environment, const std::string& path)
      : model_(Check(litert::CompiledModel::Create(environment, path, litert::HwAccelerators::kCpu),
                     path.c_str())) {
    for (const auto name : Check(model_.GetSignatureInputNames(kStep), "signature `step`")) {
      inputs_.push_back(MakeTensor(
          name, model_.GetInputTensorType(kStep, name),
          model_.GetInputTensorPerTensorQuantization(kStep, name),
          Check(model_.CreateInputBuffer(kStep, name), "buffer of an input")));
    }
    for (const auto name : Check(model_.GetSignatureOutputNames(kStep), "signature `step`")) {
      outputs_.push_back(MakeTensor(
          name, model_.GetOutputTensorType(kStep, name),
          model_.GetOutputTensorPerTensorQuantization(kStep, name),
          Check(model_.CreateOutputBuffer(kStep, name), "buffer of an output")));
    }
    Reset();
  }

  // All states to zero: the integer of the value 0 is the zero point.
  void Reset() {
    for (Tensor& input : inputs_) Write(input, std::vector<float>(input.size, 0));
  }

  // One step: values of the frame in, values of the result out. The state stays in this object.
  std::vector<float> Step(const std::vector<float>& frame) {
    Write(Frame(), frame);
    Check(model_.Run(kStep, Buffers(inputs_), Buffers(outputs_)), "step");
    std::vector<float> result;
    for (Tensor& output : outputs_) {
      if (Tensor* state = Find(inputs_, output.name)) {
        std::swap(state->buffer, output.buffer);  // one scale: the bytes of the next step
      } else {
        result = Read(output);
      }
    }
    return result;
  }

  std::size_t frame_size() { return Frame().size; }

 private:
  static Tensor* Find(std::vector<Tensor>& tensors, const std::string& name) {
    for (Tensor& tensor : tensors)
      if (tensor.name == name) return &tensor;
    return nullptr;
  }

  // The input that is no state; this example takes models with one.
  Tensor& Frame() {
    for (Tensor& input : inputs_)
      if (Find(outputs_, input.name) == nullptr) return input;
    std::fprintf(stderr, "the model has no input for a frame\n");
    std::exit(2);
  }

  static std::vector<litert::TensorBuffer> Buffers(std::vector<Tensor>& tensors) {
    std::vector<litert::TensorBuffer> buffers;
    for (Tensor& tensor : tensors)
      buffers.push_back(Check(tensor.buffer.Duplicate(), tensor.name.c_str()));
    return buffers;
  }

  litert::CompiledModel model_;
  std::vector<Tensor> inputs_, outputs_;
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: stream MODEL.tflite < frames.txt\n");
    return 2;
  }
  auto environment = Check(litert::Environment::Create({}), "environment");
  Stream stream(environment, arguments[1]);
  std::vector<float> frame;
  for (float value; std::cin >> value;) {
    frame.push_back(value);
    if (frame.size() < stream.frame_size()) continue;
    for (const float number : stream.Step(frame)) std::printf("%.9g ", number);
    std::printf("\n");
    frame.clear();
  }
  return 0;
}
