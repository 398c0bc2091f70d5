//! Numbers.

use super::Scanner;

/// Powers of ten that are exact doubles.
const EXACT: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Integers up to it are exact doubles: 2^53.
const LARGEST_INTEGER: u64 = 1 << 53;

/// So many digits always fit into 64 bits.
const MOST_DIGITS: usize = 19;

/// What a number is made of.
struct Parts {
    is_negative: bool,
    /// All its digits, without a point; wrapped around if they are too many.
    integer: u64,
    digits: usize,
    decimals: usize,
    has_exponent: bool,
}

impl<'a> Scanner<'a> {
    /// A number: as written, and the nearest double, which may be infinite.
    ///
    /// Digits and power of ten that are both exact doubles give the nearest one by a single division: W. D. Clinger,
    /// "How to Read Floating Point Numbers Accurately" (1990). The standard library reads the others.
    #[inline]
    pub(super) fn number(&mut self) -> Option<(&'a str, f64)> {
        let start = self.at;
        let Parts { is_negative, integer, digits, decimals, has_exponent } = self.parts()?;
        let text = self.text.get(start..self.at)?;
        let value = match EXACT.get(decimals) {
            Some(power) if !has_exponent && digits <= MOST_DIGITS && integer <= LARGEST_INTEGER => {
                let value = integer as f64 / power;
                if is_negative { -value } else { value }
            }
            _ => text.parse().ok()?,
        };
        Some((text, value))
    }

    /// A number of which nothing is needed.
    #[inline]
    pub(super) fn pass_number(&mut self) -> Option<()> {
        self.parts().map(|_| ())
    }

    #[inline(always)]
    fn parts(&mut self) -> Option<Parts> {
        let is_negative = self.peek() == b'-';
        self.at += usize::from(is_negative);
        let mut integer = 0;
        let mut digits = match self.peek() {
            b'0' => {
                self.at += 1;
                1
            }
            _ => self.digits(&mut integer)?,
        };
        let mut decimals = 0;
        if self.peek() == b'.' {
            self.at += 1;
            decimals = self.digits(&mut integer)?;
            digits += decimals;
        }
        let has_exponent = matches!(self.peek(), b'e' | b'E');
        if has_exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits(&mut 0)?;
        }
        Some(Parts { is_negative, integer, digits, decimals, has_exponent })
    }

    /// At least one digit, appended to an integer that wraps around; how many.
    #[inline(always)]
    fn digits(&mut self, integer: &mut u64) -> Option<usize> {
        let start = self.at;
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            *integer = integer.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        let count = self.at - start;
        (count > 0).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Option<f64> {
        let mut scanner = Scanner { text, at: 0 };
        scanner.number().filter(|(all, _)| *all == text).map(|(_, value)| value)
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in [
            "0",
            "-0",
            "10",
            "0.5",
            "1e5",
            "1E+5",
            "-1.25e-10",
            "1e400",
            "9007199254740993",
            "0.0000000000000000000000001",
        ] {
            assert_eq!(number(text).map(f64::to_bits), text.parse().ok().map(f64::to_bits), "{text}");
        }
        for text in ["", "-", "01", "-01", ".5", "1.", "1.e5", "1e", "1e+", "+1", "1.5.5", "0x1", "--1", "NaN"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_the_nearest_doubles(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,24})?([eE][-+]?[0-9]{1,3})?") {
            prop_assert_eq!(number(&text).map(f64::to_bits), text.parse().ok().map(f64::to_bits), "{}", text);
        }

        #[test]
        fn amounts_are_the_nearest_doubles(cents in any::<u64>(), decimals in 0_usize..20) {
            let text = format!("{:0width$}", cents, width = decimals + 1);
            let (whole, fraction) = text.split_at(text.len() - decimals);
            let text = if decimals == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
            prop_assert_eq!(number(&text).map(f64::to_bits), text.parse().ok().map(f64::to_bits), "{}", text);
        }
    }
}
