//! Deterministic building blocks for everything that is folded from a stream.
//!
//! The same bytes come out on every CPU: maths through `libm` (the platform's `exp` and `ln` differ by CPU),
//! fixed hashes, seeded generators with a serialisable state, and a versionless binary codec for images.
//! No I/O, no clock, no environment.

pub mod hash;
pub mod image;
pub mod math;
pub mod random;
