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

/// Queues all records of a tick.
pub(super) fn write_all(
    ready: &Ready,
    layout: &Layout,
    pipeline: &str,
    outputs: &Outputs,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), Broken> {
    let mut numbers = Numbers::default();
    outputs.records().iter().try_for_each(|output| {
        let mut headers = [Header { name: c"", value: b"" }; MOST_HEADERS];
        let count = match output.topic {
            Topic::State => 0,
            _ => numbers.headers(&mut headers, layout, pipeline, outputs, output),
        };
        write(ready, layout, outputs, output, (headers, count), cancelled)
    })
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
    let partition = match output.topic {
        Topic::Results | Topic::State => output.partition,
        _ => output.partition % layout.partitions[index].max(1),
    };
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
