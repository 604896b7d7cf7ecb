import java.nio.ByteBuffer
import kgated.Stream

/** Prints the results of two sequences of three frames, by each type. */
fun main() {
    for (type in 0..2) {
        Stream(ByteBuffer.wrap(byteArrayOf(type.toByte()))).use { stream ->
            repeat(2) {
                stream.reset()
                for (frame in listOf(floatArrayOf(1f, -2f), floatArrayOf(0.5f, 4f), floatArrayOf(3f, 3f))) {
                    println(stream.step(frame).joinToString(" "))
                }
            }
            println(runCatching { stream.step(FloatArray(3)) }.exceptionOrNull()!!.message)
        }
    }
}
