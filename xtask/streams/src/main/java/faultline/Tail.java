package faultline;

/**
 * How far an amount is from what the user usually pays at this hour: decayed mean and variance of its logarithm, pulled by
 * the time of day, and the user's own mean excess beyond one and a half deviations.
 *
 * As much work per event as the product's detector `tail`: one logarithm, sine and cosine, a dozen multiplications, one
 * logarithm for the surprise. It is no copy of it; it does not pool over users.
 */
final class Tail {
    private static final double RATE = 0.01;
    private static final double PRIOR_VARIANCE = 0.25;
    private static final double PRIOR_EVENTS = 5;
    private static final double THRESHOLD = 1.5;
    private static final double USUAL_EXCESS = 0.44;
    private static final double PRIOR_EXCEEDANCES = 10;
    private static final double FARTHEST = 4;
    private static final double RADIANS_PER_MS = 2 * Math.PI / 86_400_000;
    /** Changes smaller than this are of no interest. */
    private static final double IGNORED = 5;

    private long learned;
    private double mean;
    private double variance;
    private double sine;
    private double cosine;
    private double exceedances;
    private double excess;

    /** What the last event was expected to be, at most. */
    double expectedHigh;

    long learned() {
        return learned;
    }

    /** Surprise of an amount, as −log10 of the share of events that are at least as strange; then learns it. */
    double fold(double amount, long timeMs) {
        double value = Math.log1p(Math.max(amount, 0));
        double angle = timeMs % 86_400_000 * RADIANS_PER_MS;
        double sin = Math.sin(angle);
        double cos = Math.cos(angle);
        double expected = mean + sine * sin + cosine * cos;
        double sigma = Math.sqrt((variance * learned + PRIOR_VARIANCE * PRIOR_EVENTS) / (learned + PRIOR_EVENTS));
        double signed = learned == 0 ? 0 : (value - expected) / (sigma * Math.sqrt(1 + 1.0 / learned));
        double unit = (PRIOR_EXCEEDANCES * USUAL_EXCESS + excess) / ((PRIOR_EXCEEDANCES + exceedances) * USUAL_EXCESS);
        boolean ignored = amount - Math.expm1(expected) < IGNORED;
        double strangeness = ignored ? 0 : Math.max(signed, 0);
        double relieved = strangeness <= THRESHOLD ? strangeness : THRESHOLD + (strangeness - THRESHOLD) / unit;
        expectedHigh = Math.expm1(expected + 2.3 * sigma);
        learn(value, signed, sigma, sin, cos);
        return Surprise.ofDeviations(relieved);
    }

    private void learn(double value, double signed, double sigma, double sin, double cos) {
        double rate = Math.max(RATE, 1.0 / (learned + 1));
        double error = learned == 0 ? value : Math.max(-FARTHEST, Math.min(FARTHEST, signed)) * sigma;
        mean += rate * error;
        if (learned > 0) {
            variance += rate * (error * error - variance);
            sine += RATE * error * sin;
            cosine += RATE * error * cos;
        }
        exceedances *= 1 - RATE;
        excess *= 1 - RATE;
        if (signed > THRESHOLD) {
            exceedances += 1;
            excess += Math.min(signed - THRESHOLD, FARTHEST);
        }
        learned++;
    }

    void clear() {
        learned = 0;
        mean = variance = sine = cosine = exceedances = excess = 0;
    }

    void read(Bytes from) {
        learned = from.readLong();
        mean = from.readDouble();
        variance = from.readDouble();
        sine = from.readDouble();
        cosine = from.readDouble();
        exceedances = from.readDouble();
        excess = from.readDouble();
    }

    void write(Bytes to) {
        to.writeLong(learned);
        to.writeDouble(mean);
        to.writeDouble(variance);
        to.writeDouble(sine);
        to.writeDouble(cosine);
        to.writeDouble(exceedances);
        to.writeDouble(excess);
    }
}
