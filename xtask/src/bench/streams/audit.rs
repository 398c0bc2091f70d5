//! Reads all results with `read_committed` and counts how often each event has one.

use anyhow::{Result, ensure};
use rdkafka::{Message, Offset};

use crate::bench::events::number_of;
use crate::bench::kafka;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Events without a result.
    pub(crate) missing: u64,
    /// Results beyond the first of an event.
    pub(crate) repeated: u64,
}

/// Audits the results of the events with numbers below `events`; others are not looked at.
pub(crate) fn audit(brokers: &str, topic: &str, partitions: i32, events: u64) -> Result<Audit> {
    let mut seen = Seen::of(events);
    kafka::read_to_end(brokers, topic, 0..partitions, Offset::Beginning, &mut |message| {
        message.payload().and_then(number_of).into_iter().for_each(|number| seen.take_in(number));
        true
    })?;
    Ok(seen.audit())
}

/// Audits them; anything but one result each is an error.
pub(crate) fn demand_each_once(brokers: &str, topic: &str, partitions: i32, events: u64) -> Result<()> {
    let Audit { missing, repeated } = audit(brokers, topic, partitions, events)?;
    ensure!(
        missing == 0 && repeated == 0,
        "expected one result for each of {events} events in {topic}, found {missing} missing and {repeated} repeated"
    );
    Ok(())
}

struct Seen {
    events: Vec<bool>,
    repeated: u64,
}

impl Seen {
    fn of(events: u64) -> Self {
        Self { events: vec![false; events as usize], repeated: 0 }
    }

    fn take_in(&mut self, number: u64) {
        let event = usize::try_from(number).ok().and_then(|number| self.events.get_mut(number));
        if let Some(event) = event {
            self.repeated += u64::from(std::mem::replace(event, true));
        }
    }

    fn audit(&self) -> Audit {
        Audit { missing: self.events.iter().filter(|seen| !**seen).count() as u64, repeated: self.repeated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_repeated_results_are_found_and_others_ignored() {
        let mut seen = Seen::of(4);
        [0, 2, 2, 2, 3, 4, u64::MAX].into_iter().for_each(|number| seen.take_in(number));
        assert_eq!(seen.audit(), Audit { missing: 1, repeated: 2 });
    }
}
