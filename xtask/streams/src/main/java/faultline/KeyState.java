package faultline;

import java.util.Arrays;

/**
 * All that is remembered of a user: windows, detectors, the open incident. One object per task is filled from an image,
 * changed, and written back; nothing but the image is allocated.
 */
final class KeyState {
    private static final int LAST_EVENTS = 20;
    /** Larger than any image: 20 amounts, twice 60 panes, 14 numbers. */
    private static final int LARGEST_IMAGE = 2_048;

    /** The user's time: the greatest of his events. */
    long timeMs;
    final Panes payments5m = new Panes(5_000);
    final Panes declined1h = new Panes(60_000);
    final Tail amounts = new Tail();
    final Counts activity = new Counts();
    /** The incident is over at this time if nothing strange happens before. */
    long incidentEndsMs;
    int incidentSeverity;

    private final double[] last = new double[LAST_EVENTS];
    private int lastCount;
    private int lastNext;

    private final Bytes bytes = new Bytes(new byte[LARGEST_IMAGE]);
    private final Bytes image = new Bytes(null);

    void push(double amount) {
        last[lastNext] = amount;
        lastNext = (lastNext + 1) % LAST_EVENTS;
        lastCount = Math.min(lastCount + 1, LAST_EVENTS);
    }

    double meanOfLast() {
        double sum = 0;
        for (int at = 0; at < lastCount; at++) {
            sum += last[at];
        }
        return sum / lastCount;
    }

    /** A user that was never seen has no image. */
    void read(byte[] from) {
        if (from == null) {
            timeMs = incidentEndsMs = 0;
            incidentSeverity = lastCount = lastNext = 0;
            payments5m.clear();
            declined1h.clear();
            amounts.clear();
            activity.clear();
            return;
        }
        image.over(from);
        timeMs = image.readLong();
        incidentEndsMs = image.readLong();
        incidentSeverity = (int) image.readLong();
        lastCount = (int) image.readLong();
        lastNext = (int) image.readLong();
        for (int at = 0; at < lastCount; at++) {
            last[at] = image.readDouble();
        }
        payments5m.read(image);
        declined1h.read(image);
        amounts.read(image);
        activity.read(image);
    }

    byte[] write() {
        bytes.rewind();
        bytes.writeLong(timeMs);
        bytes.writeLong(incidentEndsMs);
        bytes.writeLong(incidentSeverity);
        bytes.writeLong(lastCount);
        bytes.writeLong(lastNext);
        for (int at = 0; at < lastCount; at++) {
            bytes.writeDouble(last[at]);
        }
        payments5m.write(bytes);
        declined1h.write(bytes);
        amounts.write(bytes);
        activity.write(bytes);
        return bytes.copy();
    }

    /** Events per pane, for a window of 60 panes that ends with the newest one. */
    static final class Panes {
        private static final int PANES = 60;
        private final long paneMs;
        private final int[] counts = new int[PANES];
        private long newest;
        private int total;

        Panes(long paneMs) {
            this.paneMs = paneMs;
        }

        /** The window moves to the user's time; panes that leave it are emptied. */
        void advance(long timeMs) {
            long pane = timeMs / paneMs;
            for (long gone = Math.max(newest + 1, pane - PANES + 1); gone <= pane; gone++) {
                int place = (int) (gone % PANES);
                total -= counts[place];
                counts[place] = 0;
            }
            newest = Math.max(newest, pane);
        }

        /** An event before the window is of no consequence. */
        void add(long timeMs) {
            long pane = timeMs / paneMs;
            if (pane > newest - PANES) {
                counts[(int) (pane % PANES)]++;
                total++;
            }
        }

        int total() {
            return total;
        }

        void clear() {
            Arrays.fill(counts, 0);
            newest = 0;
            total = 0;
        }

        void read(Bytes from) {
            clear();
            newest = from.readLong();
            long pane = newest;
            long distance;
            do {
                int count = (int) from.readLong();
                counts[place(pane)] = count;
                total += count;
                distance = from.readLong();
                pane -= distance;
            } while (distance > 0);
        }

        /** The newest pane, then those that hold events, each with its distance to the one before; 0 ends them. */
        void write(Bytes to) {
            to.writeLong(newest);
            to.writeLong(counts[place(newest)]);
            long written = newest;
            int left = total - counts[place(newest)];
            for (long pane = newest - 1; left > 0; pane--) {
                int count = counts[place(pane)];
                if (count > 0) {
                    to.writeLong(written - pane);
                    to.writeLong(count);
                    left -= count;
                    written = pane;
                }
            }
            to.writeLong(0);
        }

        private static int place(long pane) {
            return (int) (pane % PANES);
        }
    }
}
