//! The open incident of a key.
//!
//! It is written whenever it changes, and never replayed: it may depend on what is no function of the input (mutes, and
//! later scores from outside).

use faultline_detectors::Maturity;
use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::decide::{Incident, ModelSet, Severity};

const FORMAT: u64 = 1;

/// Appends an incident.
pub(crate) fn write_decision(incident: &Incident, w: &mut Writer) {
    w.varint(FORMAT);
    w.u128(incident.id);
    w.signed(incident.opened_ms);
    w.signed(incident.last_ms);
    w.varint(incident.events);
    w.f64(incident.peak);
    w.f64(incident.alerted_peak);
    w.u8(incident.severity as u8);
    w.u8(incident.maturity as u8);
    w.u64(incident.models.bits());
}

/// Reads an incident. Its timer is not in the record: it follows from the last event and the configuration.
///
/// # Errors
/// The value is cut short, of another format, or not an incident's.
pub(crate) fn read_decision(value: &[u8]) -> Result<Incident, ImageError> {
    let mut r = Reader::new(value);
    r.format("the record of an incident", FORMAT)?;
    Ok(Incident {
        id: r.u128()?,
        opened_ms: r.signed()?,
        last_ms: r.signed()?,
        events: r.varint()?,
        peak: r.f64()?,
        alerted_peak: r.f64()?,
        severity: one_of(&Severity::ALL, "a severity", r.u8()?)?,
        maturity: one_of(&[Maturity::Cold, Maturity::Warming, Maturity::Mature], "a maturity", r.u8()?)?,
        models: ModelSet::from_bits(r.u64()?),
        end_timer_ms: i64::MIN,
    })
}

fn one_of<T: Copy>(all: &[T], what: &'static str, found: u8) -> Result<T, ImageError> {
    all.get(usize::from(found)).copied().ok_or(ImageError::Invalid { what, found: u64::from(found) })
}
