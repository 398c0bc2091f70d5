package faultline;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Arrays;

/** A place in an array of bytes: whole numbers take as few bytes as they need, seven bits in each. */
final class Bytes {
    private static final VarHandle DOUBLE =
        MethodHandles.byteArrayViewVarHandle(double[].class, ByteOrder.LITTLE_ENDIAN);

    private byte[] bytes;
    private int at;

    Bytes(byte[] bytes) {
        this.bytes = bytes;
    }

    void over(byte[] other) {
        bytes = other;
        at = 0;
    }

    void rewind() {
        at = 0;
    }

    byte[] copy() {
        return Arrays.copyOf(bytes, at);
    }

    /** Not for negative numbers, which would take ten bytes. */
    void writeLong(long value) {
        while ((value & ~0x7FL) != 0) {
            bytes[at++] = (byte) (value | 0x80);
            value >>>= 7;
        }
        bytes[at++] = (byte) value;
    }

    long readLong() {
        long value = 0;
        for (int shift = 0; ; shift += 7) {
            byte next = bytes[at++];
            value |= (next & 0x7FL) << shift;
            if (next >= 0) {
                return value;
            }
        }
    }

    void writeDouble(double value) {
        DOUBLE.set(bytes, at, value);
        at += Double.BYTES;
    }

    double readDouble() {
        double value = (double) DOUBLE.get(bytes, at);
        at += Double.BYTES;
        return value;
    }
}
