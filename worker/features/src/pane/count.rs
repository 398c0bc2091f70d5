//! Number of events: `count`, `rate`.

use faultline_numerics::image::{ImageError, Reader, Writer};

use super::{Pane, Reading};

/// How many events.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Count(u64);

impl Pane for Count {
    const KIND: &'static str = "count";
    const NUMBERS: usize = 0;
    const IS_COUNTED: bool = true;

    #[inline]
    fn of(count: u64, _numbers: &[u64]) -> Self {
        Self(count)
    }

    #[inline]
    fn put_numbers(&self, _numbers: &mut [u64]) {}

    #[inline]
    fn count(&self) -> u64 {
        self.0
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.0 == 0
    }

    #[inline]
    fn add(&mut self, _time_ms: i64, _value: f64) {
        self.0 = self.0.saturating_add(1);
    }

    #[inline]
    fn absorb(&mut self, other: &Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    #[inline]
    fn read(&self, reading: Reading, _value: f64) -> f64 {
        match reading {
            Reading::Count => self.0 as f64,
            Reading::Rate(seconds) => self.0 as f64 / seconds,
            _ => f64::NAN,
        }
    }

    fn write(&self, image: &mut Writer) {
        image.varint(self.0);
    }

    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError> {
        Ok(Self(image.varint()?))
    }
}
