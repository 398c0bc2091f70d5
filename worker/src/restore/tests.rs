//! What is done with offset, marker and source as they are found: against a past that lies in memory.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::keep::{Keeper, Pace, keep};
use crate::outputs::{Outputs, Topic};
use crate::past::StateRecord;
use crate::pipeline::fold;
use crate::ports::{RawEvent, RecordTime};
use crate::small_pipeline;

const OWNER: &str = "local/default/p";
/// Records that the former owner has folded: C.
const NEXT: i64 = 5;

/// What lies in Kafka.
struct Told {
    committed: Option<i64>,
    source: Range<i64>,
    state: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// A deletion is broken off after so many records.
    deletes: usize,
}

impl Told {
    /// A worker was stopped properly at [`NEXT`].
    fn behind() -> Self {
        let mut shard = Shard::new(Arc::new(small_pipeline::config()), 0, 0).keeping_state();
        shard.begin_tick(1_700_000_000);
        let (mut outputs, mut scratch) = (Outputs::new(), Scratch::new());
        for offset in 0..NEXT {
            let value = format!("{{\"user\":\"u{offset}\",\"value\":11}}");
            let (key, timestamp) = (format!("u{offset}"), RecordTime::Created(1_700_000_000_000 + offset));
            let (key, value, traceparent) = (Some(key.as_bytes()), Some(value.as_bytes()), None);
            let raw = RawEvent { partition: 0, offset, timestamp, key, value, traceparent };
            fold(&mut shard, &raw, &mut scratch, &mut outputs).unwrap();
        }
        let pace = Pace { replay: 0.0, folded: NEXT as u64, most_bytes: 1 << 20, hurry: true };
        keep(&mut shard, &mut Keeper::new("p.0", OWNER, 1), pace, &mut outputs);
        let records = outputs.records().iter().filter(|record| record.topic == Topic::State);
        let bytes = |span: &Option<Range<u32>>| span.as_ref().map(|span| outputs.bytes(span).to_vec());
        let state = records.map(|record| (bytes(&record.key).unwrap(), bytes(&record.value))).collect();
        Self { committed: Some(NEXT), source: 0..NEXT, state, deletes: usize::MAX }
    }

    fn recover(&mut self, disagreement: Disagreement) -> Result<Recovered, RestoreError> {
        let recovery = Recovery {
            config: Arc::new(small_pipeline::config()),
            owner: OWNER.to_owned(),
            durable: true,
            disagreement,
            trusts_record_times: false,
            first_look: Arc::default(),
        };
        recovery.recover(self, 0, 1, &|| false, &mut Progress::new(&mut |_| {}))
    }

    /// Why a recovery waits.
    #[track_caller]
    fn waits(&mut self, disagreement: Disagreement, reason: &str) -> String {
        let recovered = self.recover(disagreement).map(|recovered| recovered.shard.next_offset());
        let error = recovered.expect_err("it has to wait");
        assert_eq!(error.reason(), reason, "{error}");
        error.to_string()
    }

    /// Offset at which a recovery goes on, keys that it knows, and whether it is a first start.
    #[track_caller]
    fn goes_on(&mut self, disagreement: Disagreement) -> (i64, usize, bool) {
        let Recovered { shard, first } = self.recover(disagreement).unwrap();
        (shard.next_offset(), shard.keys(), first)
    }

    fn delete(&mut self, key: &[u8]) {
        self.state.push((key.to_vec(), None));
    }

    /// Keys of the records that are there.
    fn keys(&self) -> Vec<Vec<u8>> {
        let mut found = Found::default();
        self.state.iter().for_each(|(key, value)| found.take_in(key, value.as_deref()).unwrap());
        let marker = found.marker.is_some().then(|| b"m".to_vec());
        found.keys().into_iter().chain(marker).collect()
    }
}

impl Past for Told {
    fn committed(&mut self, _: i32, _: &dyn Fn() -> bool) -> Result<Option<i64>, PastError> {
        Ok(self.committed)
    }

    fn source_range(&mut self, _: i32, _: &dyn Fn() -> bool) -> Result<Range<i64>, PastError> {
        Ok(self.source.clone())
    }

    fn source_offset_at(&mut self, _: i32, _: i64, _: &dyn Fn() -> bool) -> Result<i64, PastError> {
        Ok(self.source.end)
    }

    fn group_is_new(&mut self, _: &dyn Fn() -> bool) -> Result<bool, PastError> {
        Ok(self.committed.is_none())
    }

    fn read_state(
        &mut self,
        _: i32,
        _: &dyn Fn() -> bool,
        _: &mut dyn FnMut(i64, i64),
        each: &mut dyn FnMut(StateRecord<'_>) -> ControlFlow<()>,
    ) -> Result<u64, PastError> {
        for (offset, (key, value)) in self.state.iter().enumerate() {
            if each(StateRecord { offset: offset as i64, key, value: value.as_deref() }).is_break() {
                break;
            }
        }
        Ok(0)
    }

    fn newest_state(&mut self, _: i32, _: &[u8], _: &dyn Fn() -> bool) -> Result<Option<Vec<u8>>, PastError> {
        Ok(None)
    }

    fn delete_state(
        &mut self,
        _: i32,
        next_offset: i64,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        _: &dyn Fn() -> bool,
    ) -> Result<(), PastError> {
        for (count, key) in keys.enumerate() {
            if count == self.deletes {
                return Err(PastError::Cancelled);
            }
            self.committed = Some(next_offset);
            self.delete(&key);
        }
        Ok(())
    }

    fn read_source(
        &mut self,
        _: i32,
        _: Range<i64>,
        _: &dyn Fn() -> bool,
        _: &mut dyn FnMut(&RawEvent<'_>) -> ControlFlow<()>,
    ) -> Result<(), PastError> {
        Ok(())
    }
}

#[test]
fn a_partition_is_new_if_the_group_had_others_or_the_source_had_fewer() {
    let first = FirstLook { is_new: true, partitions: 6 };
    assert_eq!([0, 5, 6].map(|partition| first.was_added(partition)), [false, false, true]);
    assert!(FirstLook { is_new: false, partitions: 6 }.was_added(2));
}

#[test]
fn a_shard_goes_on_where_its_state_ends() {
    assert_eq!(Told::behind().goes_on(Disagreement::Stop), (NEXT, 5, false));
    let expired = &mut Told { committed: None, ..Told::behind() };
    assert_eq!(expired.goes_on(Disagreement::Stop), (NEXT, 5, false));
}

#[test]
fn a_reset_that_is_cut_short_is_asked_for_again_and_begins_at_the_same_offset() {
    for deletes in 0..Told::behind().keys().len() {
        // The pipeline stood still: the group's offsets have expired, and retention has passed L.
        let mut told = Told { committed: None, source: 10..20, deletes, ..Told::behind() };
        told.waits(Disagreement::ResetState, "Cancelled");
        let reason = if deletes == 0 { "SourceRetentionPassed" } else { "StateDisagrees" };
        told.waits(Disagreement::Stop, reason);
        told.deletes = usize::MAX;
        assert_eq!(told.goes_on(Disagreement::ResetState), (10, 0, false), "{deletes}");
        assert_eq!(told.keys(), Vec::<Vec<u8>>::new(), "{deletes}");
    }
}

#[test]
fn a_state_without_marker_and_offset_is_no_first_start() {
    let mut told = Told { committed: None, ..Told::behind() };
    told.delete(b"m");
    let records = told.keys().len();
    let message = told.waits(Disagreement::Stop, "StateDisagrees");
    assert!(message.contains(&format!("{records} records")) && message.contains("--reset-state"), "{message}");
    told.waits(Disagreement::TrustMarker, "StateDisagrees");
    assert_eq!(told.goes_on(Disagreement::ResetState), (NEXT, 0, false), "as a first start, behind what is there");
    assert_eq!(told.keys(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_partition_of_which_only_the_owner_is_known_starts_for_the_first_time() {
    let mut told = Told { committed: None, ..Told::behind() };
    for key in told.keys().into_iter().filter(|key| key != b"o") {
        told.delete(&key);
    }
    assert_eq!(told.goes_on(Disagreement::Stop), (NEXT, 0, true));
    told.state.clear();
    assert_eq!(told.goes_on(Disagreement::Stop), (NEXT, 0, true));
}

#[test]
fn a_source_that_ends_before_the_state_is_another_one() {
    // A deleted topic takes the group's offset with it; one that lost its end does not.
    for committed in [None, Some(NEXT)] {
        let mut told = Told { committed, source: 1..3, ..Told::behind() };
        let message = told.waits(Disagreement::Stop, "SourceRecreated");
        assert!(message.contains("ends at offset 3 and the state goes to 5"), "{message}");
        told.waits(Disagreement::TrustMarker, "SourceRecreated");
        assert_eq!(told.goes_on(Disagreement::ResetState), (1, 0, false));
        assert_eq!((told.committed, told.keys()), (Some(1), Vec::new()));
    }
}

#[test]
fn a_shard_that_goes_by_its_marker_has_the_offset_committed_at_once() {
    for (committed, introduces) in [(Some(2), true), (None, true), (Some(NEXT), false)] {
        let told = &mut Told { committed, ..Told::behind() };
        let shard = told.recover(Disagreement::TrustMarker).unwrap().shard;
        assert_eq!((shard.next_offset(), shard.introduces()), (NEXT, introduces), "{committed:?}");
    }
}

/// Hears what the log is told.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<String>>);

impl Visit for Listener {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        self.0.lock().unwrap().push_str(&format!("{value:?}\n"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_marker_without_offset_is_told_for_the_source_may_be_another_one() {
    for (committed, is_told) in [(None, true), (Some(NEXT), false)] {
        let told = &mut Told { committed, source: 0..20, ..Told::behind() };
        let heard = Listener::default();
        tracing::subscriber::with_default(heard.clone(), || told.goes_on(Disagreement::Stop));
        let text = heard.0.lock().unwrap();
        assert_eq!(text.contains("deleted and made anew") && text.contains("--reset-state"), is_told, "{text}");
    }
}

#[test]
fn an_inspection_shows_what_a_recovery_would_wait_for() {
    let seen = |mut told: Told| {
        let view = inspect::partition(&mut told, 0, &|| false).unwrap();
        (view.is_unmarked(), view.source_is_another())
    };
    assert_eq!(seen(Told::behind()), (false, false));
    assert_eq!(seen(Told { committed: None, source: 1..3, ..Told::behind() }), (false, true));
    let mut unmarked = Told { committed: None, ..Told::behind() };
    unmarked.delete(b"m");
    assert_eq!(seen(unmarked), (true, false));
}
