//! The course of a day and a week: when people pay, and what hour it is.

use faultline_numerics::math;

/// Monday 2026-06-01 00:00 UTC.
pub(super) const START_MS: i64 = 1_780_272_000_000;

/// A minute.
pub(super) const MINUTE_MS: i64 = 60_000;
/// An hour.
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
/// A day.
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// A minute of the simulated time, with everything that seasons need from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Its begin.
    pub(super) start_ms: i64,
    /// Hour of the day, 0 to 23.
    pub(super) hour: usize,
    /// Saturday or Sunday.
    pub(super) weekend: bool,
    /// Cosine and sine of the time of day.
    pub(super) day: [f64; 2],
    /// The same at twice the frequency.
    pub(super) half_day: [f64; 2],
}

impl Moment {
    /// The minute that begins at `start_ms`.
    pub(super) fn at(start_ms: i64) -> Self {
        let in_day_ms = start_ms.rem_euclid(DAY_MS);
        let angle = 2.0 * std::f64::consts::PI * in_day_ms as f64 / DAY_MS as f64;
        // Day 0 of the stream is a Monday.
        let day_of_week = (start_ms - START_MS).div_euclid(DAY_MS).rem_euclid(7);
        Self {
            start_ms,
            hour: (in_day_ms / HOUR_MS) as usize,
            weekend: day_of_week >= 5,
            day: [math::cos(angle), math::sin(angle)],
            half_day: [math::cos(2.0 * angle), math::sin(2.0 * angle)],
        }
    }
}

/// When a kind of user pays: exp(cos) over the day, a factor on weekends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// The busiest hour.
    pub(super) peak_hour: f64,
    /// Share of the users.
    pub(super) share: f64,
    /// Rate on weekends over rate on working days.
    weekend: f64,
}

/// Office, evening, morning, night.
pub(super) const COURSES: [Course; 4] = [
    Course { peak_hour: 13.0, share: 0.35, weekend: 0.5 },
    Course { peak_hour: 19.0, share: 0.35, weekend: 1.3 },
    Course { peak_hour: 9.0, share: 0.22, weekend: 0.9 },
    Course { peak_hour: 1.0, share: 0.08, weekend: 1.1 },
];

impl Course {
    /// The rate over its mean.
    pub(super) fn rate(&self, moment: &Moment) -> f64 {
        // 1.2660658777520084 is the modified Bessel function I0(1): the mean of exp(cos) over a day.
        let angle = 2.0 * std::f64::consts::PI * self.peak_hour / 24.0;
        let wave = moment.day[0] * math::cos(angle) + moment.day[1] * math::sin(angle);
        let week = if moment.weekend { self.weekend } else { 1.0 } / ((5.0 + 2.0 * self.weekend) / 7.0);
        math::exp(wave) / 1.266_065_877_752_008_4 * week
    }

    /// The highest rate over the mean.
    pub(super) fn peak(&self) -> f64 {
        std::f64::consts::E / 1.266_065_877_752_008_4 * self.weekend.max(1.0) / ((5.0 + 2.0 * self.weekend) / 7.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_has_mean_one_over_a_week_and_reaches_its_peak() {
        for course in COURSES {
            let rates: Vec<f64> =
                (0..7 * 24 * 60).map(|m| course.rate(&Moment::at(START_MS + m * MINUTE_MS))).collect();
            let mean = rates.iter().sum::<f64>() / rates.len() as f64;
            let peak = rates.iter().copied().fold(0.0, f64::max);
            assert!((mean - 1.0).abs() < 1e-9, "{mean}");
            assert!((peak - course.peak()).abs() < 1e-4, "{peak}");
        }
    }

    #[test]
    fn the_stream_begins_on_a_monday_morning() {
        let first = Moment::at(START_MS);
        assert_eq!((first.hour, first.weekend), (0, false));
        let saturday_noon = Moment::at(START_MS + 5 * DAY_MS + 12 * HOUR_MS);
        assert_eq!((saturday_noon.hour, saturday_noon.weekend), (12, true));
        assert!(!Moment::at(START_MS + 7 * DAY_MS).weekend);
    }
}
