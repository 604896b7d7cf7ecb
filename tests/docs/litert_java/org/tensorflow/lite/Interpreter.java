package org.tensorflow.lite;

import java.nio.ByteBuffer;
import java.util.Map;

/**
 * LiteRT's class with a model of its own: two values a frame, a state that sums the frames, and the
 * state's double as result. The first byte of the file is 0 for float32, 1 for int8, 2 for int16.
 */
public final class Interpreter implements AutoCloseable {
  /** Options, of which only the number of threads is known. */
  public static class Options {
    public Options setNumThreads(int numThreads) {
      return this;
    }
  }

  private static final int SIZE = 2;
  private static final DataType[] TYPES = {DataType.FLOAT32, DataType.INT8, DataType.INT16};
  private static final Map<String, Float> SCALES =
      Map.of("frame", 0.5f, "sum", 0.25f, "scores", 1.0f);
  private static final Map<String, Integer> ZEROS = Map.of("frame", 3, "sum", -4, "scores", 5);
  private final DataType type;

  public Interpreter(ByteBuffer model, Options options) {
    type = TYPES[model.get(0)];
  }

  public String[] getSignatureInputs(String key) {
    return new String[] {"sum", "frame"};
  }

  public String[] getSignatureOutputs(String key) {
    return new String[] {"scores", "sum"};
  }

  public Tensor getInputTensorFromSignature(String name, String key) {
    return new Slot(name);
  }

  public Tensor getOutputTensorFromSignature(String name, String key) {
    return new Slot(name);
  }

  public void runSignature(Map<String, Object> inputs, Map<String, Object> outputs, String key) {
    for (int n = 0; n < SIZE; n++) {
      float sum = read(inputs, "sum") + read(inputs, "frame");
      write(outputs, "sum", sum);
      write(outputs, "scores", 2 * sum);
    }
  }

  @Override
  public void close() {}

  private float read(Map<String, Object> values, String name) {
    ByteBuffer buffer = (ByteBuffer) values.get(name);
    if (type == DataType.FLOAT32) {
      return buffer.getFloat();
    }
    int integer = type == DataType.INT8 ? buffer.get() : buffer.getShort();
    return SCALES.get(name) * (integer - ZEROS.get(name));
  }

  private void write(Map<String, Object> values, String name, float value) {
    ByteBuffer buffer = (ByteBuffer) values.get(name);
    int integer = Math.round(value / SCALES.get(name)) + ZEROS.get(name);
    switch (type) {
      case FLOAT32 -> buffer.putFloat(value);
      case INT8 -> buffer.put((byte) integer);
      default -> buffer.putShort((short) integer);
    }
  }

  private final class Slot implements Tensor {
    private final String name;

    Slot(String name) {
      this.name = name;
    }

    public DataType dataType() {
      return type;
    }

    public int numBytes() {
      return SIZE * (type == DataType.FLOAT32 ? 4 : type == DataType.INT16 ? 2 : 1);
    }

    public int numElements() {
      return SIZE;
    }

    public String name() {
      return name;
    }

    public QuantizationParams quantizationParams() {
      return new QuantizationParams(SCALES.get(name), ZEROS.get(name));
    }
  }
}
