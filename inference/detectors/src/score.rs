//! What a model says about one event.

/// How much a model has seen of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Maturity {
    /// Fewer than 10 rows learned.
    Cold,
    /// Fewer than 100 rows learned.
    Warming,
    /// 100 rows and more.
    Mature,
}

impl Maturity {
    /// Maturity after so many rows.
    #[must_use]
    pub fn of(learned: u32) -> Self {
        match learned {
            0..10 => Self::Cold,
            10..100 => Self::Warming,
            _ => Self::Mature,
        }
    }
}

/// The judgement of one event by one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// −log10 of the share of normal events that look at least this strange.
    pub surprise: f64,
    /// How much the model has seen of the key.
    pub maturity: Maturity,
    /// Range in which nearly all (99 in 100) values of the key lie, in the value's own unit; an end that is
    /// not limited is infinite. `None` while nothing is known.
    pub expected: Option<[f64; 2]>,
    /// Rows learned by this model for this key before this one: events, or buckets for a count.
    pub learned: u32,
    /// Whether the value lies above what was expected.
    pub above: bool,
    /// The judged value: input 0, or the running count of the bucket.
    pub value: f64,
    /// Raw strangeness, in units of the key's scale; comparable within one model only.
    pub strangeness: f64,
}

/// What one input has to do with a surprise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution {
    /// The input; `None` is the count of events itself.
    pub input: Option<usize>,
    /// Its value.
    pub value: f64,
    /// Where it usually lies.
    pub expected: Option<[f64; 2]>,
    /// Its share of the surprise; the shares sum to 1.
    pub contribution: f64,
}
