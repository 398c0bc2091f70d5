package faultline;

/** −log10 of the share of normal events beyond so many standard deviations. */
final class Surprise {
    private static final double SQUARE_ROOT_OF_HALF = Math.sqrt(0.5);
    private static final double HALF_LOG10_OF_E = Math.log10(Math.E) / 2;

    private Surprise() {}

    /** Upper tail of the normal distribution; Abramowitz and Stegun, formula 7.1.26, without its exponential. */
    static double ofDeviations(double deviations) {
        if (deviations <= 0) {
            return 0;
        }
        double t = 1 / (1 + 0.3275911 * deviations * SQUARE_ROOT_OF_HALF);
        double scaled = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
        return deviations * deviations * HALF_LOG10_OF_E - Math.log10(scaled / 2);
    }
}
