package kgated

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.roundToInt
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor

/**
 * Runs a stream file of kgated on Android with LiteRT's Java API, one frame per call.
 *
 * Names, shapes, quantization parameters and states come out of the file: a state is an input that
 * has the name of an output. Nothing here depends on a certain model.
 *
 * It needs the library `com.google.ai.edge.litert:litert`. Not for use by two threads at once.
 *
 * @param model the content of the file, such as `assets.openFd(...)` mapped into memory.
 */
class Stream(model: ByteBuffer) : AutoCloseable {
    private class Slot(val tensor: Tensor, var buffer: ByteBuffer)

    private val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(1))
    private val inputs = interpreter.getSignatureInputs(STEP).associateWith {
        slot(interpreter.getInputTensorFromSignature(it, STEP))
    }
    private val outputs = interpreter.getSignatureOutputs(STEP).associateWith {
        slot(interpreter.getOutputTensorFromSignature(it, STEP))
    }
    private val states = inputs.keys intersect outputs.keys
    private val frame = inputs.getValue(inputs.keys.minus(states).single())
    private val result = outputs.getValue(outputs.keys.minus(states).single())

    /** Number of values of a frame. */
    val frameSize: Int = frame.tensor.numElements()

    init {
        reset()
    }

    /** Sets all states to zero. */
    fun reset() {
        for (name in states) {
            val slot = inputs.getValue(name)
            write(slot, FloatArray(slot.tensor.numElements()))
        }
    }

    /** Runs one step and returns its result; the state stays in this object. */
    fun step(values: FloatArray): FloatArray {
        require(values.size == frameSize) { "a frame has $frameSize values, not ${values.size}" }
        write(frame, values)
        interpreter.runSignature(rewound(inputs), rewound(outputs), STEP)
        for (name in states) {
            // The input and the output of a state have one scale: the bytes are those of the next step.
            val (input, output) = inputs.getValue(name) to outputs.getValue(name)
            input.buffer = output.buffer.also { output.buffer = input.buffer }
        }
        return read(result)
    }

    override fun close() = interpreter.close()

    private fun slot(tensor: Tensor) =
        Slot(tensor, ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder()))

    private fun rewound(slots: Map<String, Slot>): Map<String, Any> =
        slots.mapValues { (_, slot) -> slot.buffer.apply { rewind() } }

    private fun write(slot: Slot, values: FloatArray) {
        val (buffer, parameters) = slot.buffer to slot.tensor.quantizationParams()
        buffer.rewind()
        for (value in values) {
            when (slot.tensor.dataType()) {
                DataType.FLOAT32 -> buffer.putFloat(value)
                DataType.INT8 -> buffer.put(quantized(value, parameters, -128, 127).toByte())
                DataType.INT16 -> buffer.putShort(quantized(value, parameters, -32768, 32767).toShort())
                else -> error("${slot.tensor.name()}: neither float32 nor int8 nor int16")
            }
        }
    }

    private fun quantized(value: Float, parameters: Tensor.QuantizationParams, min: Int, max: Int) =
        ((value / parameters.scale).roundToInt() + parameters.zeroPoint).coerceIn(min, max)

    private fun read(slot: Slot): FloatArray {
        val (buffer, parameters) = slot.buffer to slot.tensor.quantizationParams()
        buffer.rewind()
        return FloatArray(slot.tensor.numElements()) {
            when (slot.tensor.dataType()) {
                DataType.FLOAT32 -> buffer.getFloat()
                DataType.INT8 -> parameters.scale * (buffer.get() - parameters.zeroPoint)
                DataType.INT16 -> parameters.scale * (buffer.getShort() - parameters.zeroPoint)
                else -> error("${slot.tensor.name()}: neither float32 nor int8 nor int16")
            }
        }
    }

    private companion object {
        const val STEP = "step"
    }
}
