//! What a recovery reads: the state, the committed offsets, the source once more.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use faultline_worker::adapters::kafka_past::{KafkaPast, PastConfig, WrittenBy};
use faultline_worker::past::{Past, PastError};
use rdkafka::{ClientConfig, Offset};

use crate::broker::free_port;
use crate::history::{Found, History, OWNER, read_state, record};
use crate::wait_until;

/// Half a second passes before an open transaction counts as left; the rest is for a machine with other things to do.
/// Far from the two minutes after which the broker itself would abort it.
const AT_ONCE: Duration = Duration::from_secs(10);

#[test]
fn the_state_is_read_whole_and_without_what_was_aborted() {
    let history = History::new("past-whole", &[]);
    let writer = history.writer("a");
    writer.begin().state("k/a", "1").state("k/b", "2").commit();
    writer.begin().state("k/a", "aborted").abort();
    writer.begin().tombstone("k/b").state("k/c", "").commit();
    writer.begin().state("k/c", "aborted").state("k/d", "aborted").abort();

    let (mut reported, mut found) = (Vec::new(), 0);
    let bytes = history.past().read_state(0, &|| false, &mut |at, end| reported.push((at, end)), &mut |_| {
        found += 1;
        ControlFlow::Continue(())
    });
    // Two records and their marker, one and its marker, two and theirs, two and theirs.
    let range = history.state_range();
    assert_eq!((range.clone(), found, bytes.unwrap()), (0..11, 4, 3 + 3 + 1 + 1 + 3 + 3));
    assert_eq!((reported.first(), reported.last()), (Some(&(0, 11)), Some(&(11, 11))), "{reported:?}");

    let (records, _) = read_state(&mut history.past()).unwrap();
    let tombstone = (5, "k/b".to_owned(), None);
    assert_eq!(records, [record(0, "k/a", "1"), record(1, "k/b", "2"), tombstone, record(6, "k/c", "")]);
}

#[test]
fn one_reader_reads_again_and_again() {
    let history = History::new("past-again", &[]);
    let (writer, mut past) = (history.writer("a"), history.past());
    assert_eq!(read_state(&mut past).unwrap(), (Vec::new(), 0), "an empty partition");
    for round in 1..=3 {
        writer.begin().state("k/a", "1").commit();
        let (records, _) = read_state(&mut past).unwrap();
        assert_eq!(records.len(), round, "{records:?}");
    }
    let mut seen = 0;
    let broken_off = past.read_state(0, &|| false, &mut |_, _| {}, &mut |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!((broken_off.unwrap(), seen), (4, 1));
}

#[test]
fn an_emptied_partition_has_nothing_and_a_shortened_one_its_rest() {
    let history = History::new("past-emptied", &[("cleanup.policy", "compact,delete")]);
    let writer = history.writer("a");
    writer.begin().state("k/a", "1").commit();
    writer.begin().state("k/b", "2").commit();
    history.delete_state_before(Offset::Offset(2));
    assert_eq!(read_state(&mut history.past()).unwrap().0, [record(2, "k/b", "2")]);
    history.delete_state_before(Offset::End);
    assert_eq!(history.state_range(), 4..4);
    assert_eq!(read_state(&mut history.past()).unwrap(), (Vec::new(), 0));
}

#[test]
fn a_compacted_state_is_read_whole() {
    let settings = [("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.01"), ("segment.ms", "1000")];
    let history = History::new("past-compacted", &settings);
    let writer = history.writer("a");
    let value = |version: u32| format!("{version}-{}", "x".repeat(1_000));
    for version in 0..100 {
        writer.begin();
        for key in 0..50 {
            writer.state(&format!("k/{key}"), &value(version));
        }
        writer.commit();
        writer.begin();
        for key in 0..50 {
            writer.state(&format!("k/{key}"), "aborted");
        }
        writer.abort();
    }
    let latest = |records: &[Found]| {
        let latest: std::collections::BTreeMap<_, _> =
            records.iter().map(|(_, key, value)| (key.clone(), value.clone().unwrap())).collect();
        latest.len() == 50 && latest.values().all(|found| *found == value(99))
    };
    let mut records = Vec::new();
    let compacted = || {
        records = read_state(&mut history.onlooker()).unwrap().0;
        assert!(latest(&records), "{} records, and not the newest of each key", records.len());
        assert!(records.is_sorted(), "not in the order of offsets");
        records.len() < 2_500
    };
    wait_until("compaction of half of the state", Duration::from_secs(120), compacted, String::new);
}

#[test]
fn a_transaction_that_a_dead_owner_left_open_is_aborted_at_once() {
    let history = History::new("past-takeover", &[]);
    let owner = history.writer("a");
    owner.begin().state("k/a", "1").marker().offset(7).commit();
    owner.begin().state("k/a", "lost").marker().offset(9).leave();

    let began = Instant::now();
    let mut past = history.past();
    assert_eq!(past.committed(0, &|| false).unwrap(), Some(7));
    let (records, _) = read_state(&mut past).unwrap();
    assert!(began.elapsed() < AT_ONCE, "it took {:?}: the timeout of the transaction was waited for", began.elapsed());
    assert_eq!(records, [record(0, "k/a", "1"), record(1, OWNER, &owner.id)]);
    let error = owner.try_commit().unwrap_err();
    assert!(matches!(&error, rdkafka::error::KafkaError::Transaction(e) if e.is_fatal()), "not fenced: {error}");
}

#[test]
fn an_owner_that_its_open_transaction_does_not_name_is_found_before_it() {
    let history = History::new("past-unnamed", &[]);
    let owner = history.writer("a");
    owner.begin().state("k/a", "1").marker().commit();
    owner.begin().state("k/a", "lost").leave();

    let began = Instant::now();
    let (records, _) = read_state(&mut history.past()).unwrap();
    assert!(began.elapsed() < AT_ONCE, "it took {:?}: the timeout of the transaction was waited for", began.elapsed());
    assert_eq!(records.len(), 2, "{records:?}");
    assert!(owner.try_commit().is_err(), "not fenced");
}

#[test]
fn an_owner_that_died_before_its_transaction_came_to_the_state_is_found_too() {
    let history = History::new("past-offset-only", &[]);
    let owner = history.writer("a");
    owner.begin().state("k/a", "1").marker().offset(7).commit();
    owner.begin().offset(9).leave();

    let began = Instant::now();
    assert_eq!(history.past().committed(0, &|| false).unwrap(), Some(7));
    assert!(began.elapsed() < AT_ONCE, "it took {:?}: the timeout of the transaction was waited for", began.elapsed());
    assert!(owner.try_commit().is_err(), "not fenced");
}

#[test]
fn a_wait_ends_when_the_partition_is_taken_away() {
    let history = History::new("past-cancelled", &[]);
    let owner = history.writer("a");
    owner.begin().state("k/a", "1").marker().offset(1).leave();
    let asked = Cell::new(0);
    // Often enough that it waits for the open transaction, which nobody ends here.
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 100
    };
    let mut past = history.onlooker();
    let reading = past.read_state(0, &cancelled, &mut |_, _| {}, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(reading, Err(PastError::Cancelled)), "{reading:?}");
    // A question for an offset takes longer than a look at the queue.
    asked.set(85);
    let committed = past.committed(0, &cancelled);
    assert!(matches!(committed, Err(PastError::Cancelled)), "{committed:?}");
    owner.commit();
    assert_eq!(read_state(&mut past).unwrap().0.len(), 2, "an onlooker fenced the owner");

    let nowhere = format!("127.0.0.1:{}", free_port());
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", nowhere);
    let (source, state, owner_of) = (history.source(), history.state(), Box::new(|_: &[u8], _: Option<&[u8]>| None));
    let group = history.identity.clone();
    let mut past = KafkaPast::new(PastConfig { client, group, source, state, owner_of }).unwrap();
    asked.set(99);
    let committed = past.committed(0, &cancelled);
    assert!(matches!(committed, Err(PastError::Cancelled)), "{committed:?}");
}

#[test]
fn the_source_is_read_again_without_what_was_aborted() {
    let history = History::new("past-source", &[]);
    let writer = history.writer("upstream");
    writer.begin().event("0").event("1").commit();
    writer.begin().event("aborted").abort();
    writer.begin().event("5").event("6").commit();
    writer.begin().event("open").leave();

    let mut past = history.past();
    let mut read = |range: std::ops::Range<i64>| {
        let mut found = Vec::new();
        past.read_source(0, range, &|| false, &mut |raw| {
            assert_eq!((raw.partition, raw.key), (0, Some(&b"key"[..])));
            assert!(raw.timestamp.millis().is_some());
            found.push((raw.offset, String::from_utf8_lossy(raw.value.unwrap()).into_owned()));
            ControlFlow::Continue(())
        })
        .map(|()| found)
    };
    let events = |offsets: &[i64]| offsets.iter().map(|at| (*at, at.to_string())).collect::<Vec<_>>();
    // Behind the last committed marker, where an open transaction begins.
    assert_eq!(read(0..8).unwrap(), events(&[0, 1, 5, 6]));
    assert_eq!(read(1..6).unwrap(), events(&[1, 5]));
    assert_eq!(read(2..5).unwrap(), events(&[]));
    assert_eq!(read(4..4).unwrap(), events(&[]));
    let beyond = read(0..9);
    assert!(matches!(beyond, Err(PastError::Gone { offset: 9, .. })), "{beyond:?}");
    assert_eq!(past.source_range(0, &|| false).unwrap(), 0..8);
    writer.abort();
}

#[test]
fn times_and_the_first_start_are_found() {
    let history = History::new("past-first", &[]);
    let (writer, mut past) = (history.writer("a"), history.past());
    let never = || false;
    assert!(past.group_is_new(&never).unwrap());
    assert_eq!(past.committed(0, &never).unwrap(), None);
    assert_eq!(past.source_offset_at(0, 0, &never).unwrap(), 0, "an empty partition");
    writer.begin().event("0").offset(1).leave();
    assert!(past.group_is_new(&never).unwrap(), "an offset that is only pending counts");
    writer.commit();
    // Waits until the group knows of the commit, which comes after the producer's answer.
    assert_eq!(past.committed(0, &never).unwrap(), Some(1));
    assert!(!past.group_is_new(&never).unwrap());
    assert_eq!(past.source_offset_at(0, 0, &never).unwrap(), 0);
    let in_the_future = 4_000_000_000_000;
    assert_eq!(past.source_offset_at(0, in_the_future, &never).unwrap(), 2, "behind the marker");
}

#[test]
fn a_topic_or_partition_that_is_missing_is_named() {
    let history = History::new("past-missing", &[]);
    let error = history.past().source_range(3, &|| false).unwrap_err();
    assert!(matches!(&error, PastError::TopicMissing { topic, partition: 3 } if *topic == history.source()), "{error}");
}

#[test]
fn a_reader_does_not_fence_its_own_process() {
    let history = History::new("past-own", &[]);
    let (former, own) = (history.writer("former.0"), history.writer("own.0"));
    former.begin().state("k/a", "1").marker().offset(1).commit();
    own.begin().state("k/a", "2").marker().offset(2).leave();

    let prefix = format!("{}.own.", history.identity);
    let mut past = history.past_of(Box::new(move |key, value| {
        let id = (key == OWNER.as_bytes()).then(|| String::from_utf8_lossy(value.unwrap()).into_owned())?;
        Some(if id.starts_with(&prefix) { WrittenBy::Us } else { WrittenBy::Another(id) })
    }));
    // Long enough to look for an owner more than once, in both ways to wait.
    let began = Instant::now();
    let cancelled = || began.elapsed() > Duration::from_millis(1_500);
    let reading = past.read_state(0, &cancelled, &mut |_, _| {}, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(reading, Err(PastError::Cancelled)), "{reading:?}");
    let began = Instant::now();
    let committed = past.committed(0, &|| began.elapsed() > Duration::from_millis(1_500));
    assert!(matches!(committed, Err(PastError::Cancelled)), "{committed:?}");

    own.commit();
    former.begin().state("k/b", "1").commit();
    assert_eq!(read_state(&mut past).unwrap().0.len(), 5, "nobody was fenced");
}
