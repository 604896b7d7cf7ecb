package org.tensorflow.lite;

/** The methods of LiteRT's interface that an example may call. */
public interface Tensor {
  /** Scale and zero point. */
  class QuantizationParams {
    private final float scale;
    private final int zeroPoint;

    public QuantizationParams(float scale, int zeroPoint) {
      this.scale = scale;
      this.zeroPoint = zeroPoint;
    }

    public float getScale() {
      return scale;
    }

    public int getZeroPoint() {
      return zeroPoint;
    }
  }

  DataType dataType();

  int numBytes();

  int numElements();

  String name();

  QuantizationParams quantizationParams();
}
