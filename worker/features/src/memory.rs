//! The memory of one key: words in one allocation, so that an event finds all that its key knows in neighbouring cache
//! lines.
//!
//! ```text
//! number of stretches · a word per stretch · heads, where the plan has put them · stretches
//!                       └ where, how many items fit, which one is the oldest ────►
//! ```
//! Heads have a fixed size. A stretch grows as its key is seen: closed panes, events of a ring. Whose a head or a
//! stretch is and what its words mean, only its owner knows.

/// Words of a key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pub(crate) words: Vec<u64>,
}

/// Where the items of a growing piece of state are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Its first word.
    pub(crate) from: usize,
    /// Items that fit: a ring has at most 1,024.
    pub(crate) capacity: usize,
    /// Place of the oldest item; those behind the last place stand before it.
    pub(crate) oldest: usize,
}

/// The word of a stretch: 16 bits for the capacity, 16 for the oldest item, the rest for the first word.
const OLDEST_SHIFT: u32 = 16;
const FROM_SHIFT: u32 = 32;

impl Memory {
    /// Empty stretches, heads of zeros.
    pub(crate) fn new(stretches: usize, head_words: usize) -> Self {
        let mut words = vec![0; Self::first_head(stretches) + head_words];
        words[0] = stretches as u64;
        Self { words }
    }

    /// The word behind those of the stretches.
    pub(crate) fn first_head(stretches: usize) -> usize {
        1 + stretches
    }

    #[inline]
    pub(crate) fn stretch(&self, index: usize) -> Stretch {
        let word = self.words[1 + index];
        let (capacity, oldest) = (word as u16, (word >> OLDEST_SHIFT) as u16);
        Stretch { from: (word >> FROM_SHIFT) as usize, capacity: capacity.into(), oldest: oldest.into() }
    }

    #[inline]
    pub(crate) fn set_oldest(&mut self, index: usize, oldest: usize) {
        let word = &mut self.words[1 + index];
        *word = *word & !(0xffff << OLDEST_SHIFT) | (oldest as u64) << OLDEST_SHIFT;
    }

    /// Makes room for `capacity` items: the stretch has had so many words and gets so many. Those behind it move.
    #[inline(never)]
    pub(crate) fn grow(&mut self, index: usize, capacity: usize, words_before: usize, words_after: usize) -> Stretch {
        let known = self.stretch(index);
        let length = self.words.len();
        let from = if known.capacity == 0 { length } else { known.from };
        let (end, added) = (from + words_before, words_after - words_before);
        self.words.reserve_exact(added);
        self.words.resize(length + added, 0);
        self.words.copy_within(end..length, end + added);
        let stretches = self.words[0] as usize;
        for word in &mut self.words[1..=stretches] {
            if *word >> FROM_SHIFT >= end as u64 {
                *word += (added as u64) << FROM_SHIFT;
            }
        }
        self.words[1 + index] = (from as u64) << FROM_SHIFT | (known.oldest as u64) << OLDEST_SHIFT | capacity as u64;
        self.stretch(index)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_that_grows_moves_those_behind_it() {
        let mut memory = Memory::new(3, 2);
        let heads = memory.words.len();
        for (index, value) in [(1, 10), (0, 20), (2, 30)] {
            let stretch = memory.grow(index, 2, 0, 2);
            memory.words[stretch.from..stretch.from + 2].fill(value);
        }
        let stretch = memory.grow(0, 4, 2, 5);
        memory.words[stretch.from + 2..stretch.from + 5].fill(21);
        assert_eq!(memory.words[heads..], [10, 10, 20, 20, 21, 21, 21, 30, 30]);
        let places = [0, 1, 2].map(|index| memory.stretch(index));
        let expected = [(heads + 2, 4), (heads, 2), (heads + 7, 2)];
        assert_eq!(places, expected.map(|(from, capacity)| Stretch { from, capacity, oldest: 0 }));
        assert_eq!(memory.heap_bytes(), memory.words.len() * 8);
    }
}
