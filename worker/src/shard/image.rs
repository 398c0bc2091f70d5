//! The image of a key: everything known of it, but for its open incident, which has a record of its own.
//!
//! Each part stands behind the fingerprint of what it belongs to, so that a changed configuration finds what it still has
//! and starts the rest empty.

use faultline_crds::WorkerConfig;
use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::{ImageError, Reader, Writer};

use super::KeyState;
use crate::score::Scoring;

const FORMAT: u64 = 1;

/// Appends the image of a key. `part` is a buffer.
pub(crate) fn write_image(config: &WorkerConfig, scoring: &Scoring, key: &KeyState, w: &mut Writer, part: &mut Writer) {
    w.varint(FORMAT);
    w.signed(key.last_ms);
    part.clear();
    config.plan.write(&key.windows, part);
    w.bytes(part.as_bytes());
    w.varint(key.models.len() as u64);
    for (bound, model) in config.models.iter().zip(&key.models) {
        part.clear();
        bound.model.write_key(model, part);
        w.fingerprint(bound.model.fingerprint());
        w.bytes(part.as_bytes());
    }
    part.clear();
    scoring.combination.write_key(&key.combination, part);
    w.fingerprint(scoring.combined.of);
    w.bytes(part.as_bytes());
}

/// The image of a key, taken apart and not read yet.
#[derive(Debug)]
pub(crate) struct ImageParts<'a> {
    /// Greatest event time of the key.
    pub(crate) last_ms: i64,
    pub(crate) windows: &'a [u8],
    /// By fingerprint.
    pub(crate) models: Vec<(Fingerprint, &'a [u8])>,
}

/// Takes the image of a key apart.
///
/// # Errors
/// The image is cut short, or of another format.
pub(crate) fn split_image(image: &[u8]) -> Result<ImageParts<'_>, ImageError> {
    let mut r = Reader::new(image);
    r.format("the image of a key", FORMAT)?;
    let (last_ms, windows) = (r.signed()?, r.bytes()?);
    let models = (0..r.count(17)?).map(|_| Ok((r.fingerprint()?, r.bytes()?))).collect::<Result<_, ImageError>>()?;
    Ok(ImageParts { last_ms, windows, models })
}

/// Reads the image of a key.
///
/// # Errors
/// The image is cut short, of another format, or not a key's.
pub(crate) fn read_image(
    config: &WorkerConfig,
    scoring: &Scoring,
    key: &str,
    image: &[u8],
) -> Result<KeyState, ImageError> {
    let mut r = Reader::new(image);
    r.format("the image of a key", FORMAT)?;
    let last_ms = r.signed()?;
    let windows = config.plan.restore(&mut Reader::new(r.bytes()?))?;
    let (mut models, mut combination) = scoring.new_key(config);
    for _ in 0..r.count(17)? {
        let (of, part) = (r.fingerprint()?, r.bytes()?);
        for (bound, model) in config.models.iter().zip(&mut models) {
            if bound.model.fingerprint() == of {
                *model = bound.model.restore_key(&mut Reader::new(part))?;
            }
        }
    }
    let (of, part) = (r.fingerprint()?, r.bytes()?);
    if of == scoring.combined.of {
        combination = scoring.combination.restore_key(&mut Reader::new(part))?;
    }
    let mut state = KeyState::new(key, windows, models, combination);
    state.last_ms = last_ms;
    Ok(state)
}
