//! Values of fields and features.

/// A number, a text, a truth value (only inside events and expressions) or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Value<'a> {
    /// Nothing: missing, `null`, or a number that is not finite.
    #[default]
    Absent,
    /// A truth value.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A text.
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// A number; absent if it is not finite.
    #[inline]
    #[must_use]
    pub fn number(number: f64) -> Self {
        if number.is_finite() { Self::Number(number) } else { Self::Absent }
    }

    /// The number, if it is one.
    #[inline]
    #[must_use]
    pub fn as_number(self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The number, NaN for anything else: how detectors take their inputs.
    #[inline]
    #[must_use]
    pub fn number_or_nan(self) -> f64 {
        self.as_number().unwrap_or(f64::NAN)
    }

    /// The text, if it is one.
    #[inline]
    #[must_use]
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    #[inline]
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// True for [`Value::Absent`].
    #[inline]
    #[must_use]
    pub fn is_absent(self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// Empties a vector of values and keeps its memory for values that live for another time, so that a loop over events
/// can reuse one allocation although each event borrows from another record.
#[inline]
#[must_use]
pub fn recycle<'b>(mut values: Vec<Value<'_>>) -> Vec<Value<'b>> {
    values.clear();
    values.into_iter().map(|_| Value::Absent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_absent() {
        assert_eq!(Value::number(1.5), Value::Number(1.5));
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Value::number(number), Value::Absent);
        }
        assert!(Value::Text("1").number_or_nan().is_nan());
    }

    #[test]
    fn recycling_keeps_the_allocation() {
        let values = vec![Value::Number(1.0); 16];
        let at = values.as_ptr() as usize;
        let again: Vec<Value<'static>> = recycle(values);
        assert_eq!((again.len(), again.capacity(), again.as_ptr() as usize), (0, 16, at));
    }
}
