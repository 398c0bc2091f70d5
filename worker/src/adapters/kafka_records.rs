//! Outputs as Kafka records: partition, headers, and what is cut when it does not fit.

use std::ffi::CStr;
use std::fmt::Write as _;
use std::time::Duration;

use rdkafka::producer::Producer;
use rdkafka::types::RDKafkaErrorCode;

use super::kafka_native::{self as native, Header, MOST_HEADERS};
use super::kafka_sink::{Broken, Ready, SLICE};
use super::kafka_topics::Layout;
use crate::outputs::{Output, Outputs, Topic};

/// Bytes that a record takes beside its key, value and headers: batch header, varints, attributes.
const RECORD_OVERHEAD: usize = 128;

/// Queues all records of a tick: the first of each partition that it writes to before all others, so that the client
/// adds these partitions to the transaction with one request, not one after the other. Within a partition the order stays.
pub(super) fn write_all(
    ready: &Ready,
    layout: &Layout,
    pipeline: &str,
    outputs: &Outputs,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), Broken> {
    let mut numbers = Numbers::default();
    let mut write = |output: &Output| {
        let mut headers = [Header { name: c"", value: b"" }; MOST_HEADERS];
        let count = match output.topic {
            Topic::State => 0,
            _ => numbers.headers(&mut headers, layout, pipeline, outputs, output),
        };
        write(ready, layout, outputs, output, (headers, count), cancelled)
    };
    let firsts = firsts(outputs.records(), layout);
    firsts.iter().try_for_each(|at| write(&outputs.records()[*at]))?;
    let mut done = firsts.iter().peekable();
    outputs.records().iter().enumerate().try_for_each(|(at, output)| match done.next_if_eq(&&at) {
        Some(_) => Ok(()),
        None => write(output),
    })
}

/// Places of the records that are the first of their partition, in order.
fn firsts(records: &[Output], layout: &Layout) -> Vec<usize> {
    let mut seen: Vec<Vec<bool>> = vec![Vec::new(); layout.names.len()];
    let mut is_first = |output: &Output| {
        // A record of state where there is no state topic is refused when it is written.
        let Some(seen) = seen.get_mut(output.topic as usize) else { return false };
        let partition = destination(output, layout) as usize;
        if seen.len() <= partition {
            seen.resize(partition + 1, false);
        }
        !std::mem::replace(&mut seen[partition], true)
    };
    (0..records.len()).filter(|at| is_first(&records[*at])).collect()
}

/// The partition that a record goes to.
fn destination(output: &Output, layout: &Layout) -> i32 {
    match output.topic {
        Topic::Results | Topic::State => output.partition,
        topic => output.partition % layout.partitions[topic as usize].max(1),
    }
}

fn write(
    ready: &Ready,
    layout: &Layout,
    outputs: &Outputs,
    output: &Output,
    (mut headers, mut count): ([Header<'_>; MOST_HEADERS], usize),
    cancelled: &dyn Fn() -> bool,
) -> Result<(), Broken> {
    let index = output.topic as usize;
    let Some(handle) = ready.handles.get(index) else {
        return Err(Broken::before("a record of state, and this pipeline has no state topic"));
    };
    let partition = destination(output, layout);
    let key = output.key.as_ref().map(|span| outputs.bytes(span));
    let mut value = output.value.as_ref().map(|span| outputs.bytes(span));
    let size = RECORD_OVERHEAD
        + key.map_or(0, <[u8]>::len)
        + value.map_or(0, <[u8]>::len)
        + headers[..count].iter().map(|header| header.name.count_bytes() + header.value.len() + 4).sum::<usize>();
    if size > layout.limits[index] && output.topic == Topic::State {
        // Without its value it would be a tombstone.
        let limit = layout.limits[index];
        return Err(Broken::before(&format!(
            "a record of state has {size} bytes, and topic `{}` takes {limit}; raise its max.message.bytes",
            layout.names[index]
        )));
    }
    if size > layout.limits[index] {
        // Refused by the broker it would be sent again for ever; the source still holds the record, at the offset that
        // the headers name.
        let name = if output.rejection.is_some() { c"dlq.truncated" } else { c"faultline-truncated" };
        headers[count] = Header { name, value: b"true" };
        count += 1;
        value = None;
    }
    loop {
        match native::produce(&ready.producer, handle, partition, key, value, &headers[..count]) {
            Ok(()) => return Ok(()),
            Err(RDKafkaErrorCode::QueueFull) => {
                // The buffer empties as the broker acknowledges; the poll serves failures meanwhile.
                native::flush(&ready.producer, Duration::from_millis(10));
                ready.producer.poll(Duration::ZERO);
                if cancelled() {
                    return Err(Broken::cancelled());
                }
            }
            Err(code) => {
                if code == RDKafkaErrorCode::UnknownPartition {
                    // The topic has just grown: asked for, its metadata are there for the next try.
                    let refreshed = ready.producer.client().fetch_metadata(Some(&layout.names[index]), SLICE * 2);
                    tracing::debug!(
                        topic = layout.names[index],
                        known = refreshed.is_ok(),
                        "partitions looked up again"
                    );
                }
                return Err(Broken::before(&code));
            }
        }
    }
}

/// Header values that have to be written out, kept beside the header list that borrows them.
#[derive(Default)]
struct Numbers {
    source: String,
    partition: String,
    offset: String,
    time: String,
}

/// Writes a number over what a buffer held.
fn spell(buffer: &mut String, number: impl std::fmt::Display) {
    buffer.clear();
    // Writing to a string does not fail.
    let _ = write!(buffer, "{number}");
}

impl Numbers {
    fn headers<'a>(
        &'a mut self,
        headers: &mut [Header<'a>; MOST_HEADERS],
        layout: &'a Layout,
        pipeline: &'a str,
        outputs: &'a Outputs,
        output: &'a Output,
    ) -> usize {
        let mut count = 0;
        let mut push = |name: &'static CStr, value: &'a [u8]| {
            headers[count] = Header { name, value };
            count += 1;
        };
        match &output.rejection {
            None => {
                spell(&mut self.source, format_args!("{}-{}-{}", layout.source, output.partition, output.offset));
                push(c"faultline-source", self.source.as_bytes());
                push(c"faultline-pipeline", pipeline.as_bytes());
            }
            Some(rejection) => {
                spell(&mut self.partition, output.partition);
                spell(&mut self.offset, output.offset);
                spell(&mut self.time, output.record_time_ms);
                push(c"dlq.topic", layout.source.as_bytes());
                push(c"dlq.partition", self.partition.as_bytes());
                push(c"dlq.offset", self.offset.as_bytes());
                push(c"dlq.timestamp", self.time.as_bytes());
                push(c"dlq.stage", rejection.stage.as_bytes());
                if let Some(class) = rejection.class {
                    push(c"dlq.error.class", class.name().as_bytes());
                }
                push(c"dlq.error.message", outputs.bytes(&rejection.message));
            }
        }
        if let Some(trace) = &output.traceparent {
            push(c"traceparent", outputs.bytes(trace));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(topic: Topic, partition: i32) -> Output {
        Output {
            topic,
            partition,
            offset: 0,
            record_time_ms: -1,
            key: None,
            value: None,
            traceparent: None,
            rejection: None,
        }
    }

    #[test]
    fn the_first_record_of_each_partition_is_found() {
        use Topic::{Alerts, Results, State};
        let layout = Layout {
            source: "in".to_owned(),
            source_partitions: 4,
            names: ["results", "alerts", "dead-letter", "late", "state"].map(str::to_owned).to_vec(),
            partitions: vec![4, 2, 1, 1, 4],
            limits: vec![1 << 20; 5],
        };
        let records: Vec<Output> =
            [(Results, 1), (Results, 1), (Alerts, 1), (Results, 3), (Alerts, 3), (Alerts, 0), (State, 1), (State, 1)]
                .map(|(topic, partition)| output(topic, partition))
                .to_vec();
        // Source partitions 1 and 3 share a partition of the alerts.
        assert_eq!(firsts(&records, &layout), [0, 2, 3, 5, 6]);
        assert_eq!(firsts(&[], &layout), [0; 0]);
        let stateless = Layout { names: layout.names[..4].to_vec(), ..layout };
        assert_eq!(firsts(&records[5..], &stateless), [0], "a record of state is refused when it is written");
    }
}
