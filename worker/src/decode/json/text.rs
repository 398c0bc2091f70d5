//! Texts.

use std::ops::Range;

use super::Scanner;
use crate::decode::leaf::hex4;

/// Where a text stands.
pub(super) struct Text {
    /// Between its quotes.
    pub(super) range: Range<usize>,
    pub(super) has_escapes: bool,
}

impl Scanner<'_> {
    /// A text after its first quote.
    #[inline(always)]
    pub(super) fn text(&mut self) -> Option<Text> {
        let start = self.at;
        let mut has_escapes = false;
        loop {
            self.pass_plain();
            match self.peek() {
                b'"' => {
                    let range = start..self.at;
                    self.at += 1;
                    return Some(Text { range, has_escapes });
                }
                b'\\' => {
                    has_escapes = true;
                    self.pass_escape()?;
                }
                // A control character, or the end.
                _ => return None,
            }
        }
    }

    /// Goes on to the next quote, backslash or control character, eight bytes at a time.
    #[inline(always)]
    fn pass_plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(eight) = bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let special = special_bytes(u64::from_le_bytes(*eight));
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while bytes.get(self.at).is_some_and(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    #[cold]
    fn pass_escape(&mut self) -> Option<()> {
        match self.text.as_bytes().get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => match self.escaped_unit()? {
                // The first half of a pair: no character without the second, and none alone.
                0xD800..0xDC00 => {
                    (0xDC00..0xE000).contains(&self.escaped_unit()?).then_some(())?;
                }
                0xDC00..0xE000 => return None,
                _ => {}
            },
            _ => return None,
        }
        Some(())
    }

    /// `\u` and four hexadecimal digits.
    fn escaped_unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 6)?.strip_prefix("\\u")?;
        self.at += 6;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| hex4(digits))
    }
}

/// The high bit of each byte that is a quote, a backslash or a control character; exact for the lowest such byte,
/// after which a borrow may mark others. Bit tricks: S. E. Anderson, "Bit Twiddling Hacks", "Determine if a word has a
/// byte equal to n / less than n".
#[inline(always)]
pub(crate) fn special_bytes(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word;
    let equal = |byte: u8| less(eight ^ (ONES * u64::from(byte)), 1);
    (less(eight, b' ') | equal(b'"') | equal(b'\\')) & (ONES << 7)
}
