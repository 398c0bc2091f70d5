package faultline;

/** Payments per five minutes against a decayed mean and variance of the user's closed buckets. */
final class Counts {
    private static final long EVERY_MS = 300_000;
    private static final double KEEP = 0.995;
    private static final double PRIOR_MEAN = 0.5;

    private long bucket;
    private double running;
    private double weight;
    private double sum;
    private double squares;

    double fold(long timeMs) {
        long current = timeMs / EVERY_MS;
        if (bucket == 0) {
            bucket = current;
        } else if (current > bucket) {
            // The bucket that has ended, and the empty ones since.
            double kept = Math.pow(KEEP, current - bucket);
            weight = (weight + 1) * kept + (KEEP - kept) / (1 - KEEP);
            sum = (sum + running) * kept;
            squares = (squares + running * running) * kept;
            bucket = current;
            running = 0;
        }
        running += 1;
        double mean = (sum + PRIOR_MEAN) / (weight + 1);
        double variance = Math.max((squares + PRIOR_MEAN) / (weight + 1) - mean * mean, mean);
        // An event always finds itself in its bucket: the others are compared.
        return Surprise.ofDeviations((running - 1 - mean) / Math.sqrt(variance + 1));
    }

    double running() {
        return running;
    }

    void clear() {
        bucket = 0;
        running = weight = sum = squares = 0;
    }

    void read(Bytes from) {
        bucket = from.readLong();
        running = from.readDouble();
        weight = from.readDouble();
        sum = from.readDouble();
        squares = from.readDouble();
    }

    void write(Bytes to) {
        to.writeLong(bucket);
        to.writeDouble(running);
        to.writeDouble(weight);
        to.writeDouble(sum);
        to.writeDouble(squares);
    }
}
