//! What the client's variadic call takes, put together; nothing is called here.

use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings::{self as sys, rd_kafka_vtype_t as kind};

type Argument = sys::rd_kafka_vu_t;
type Content = sys::rd_kafka_vu_s__bindgen_ty_1;

/// One header of a record.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a CStr,
    /// Its value.
    pub value: &'a [u8],
}

/// Most headers of a record: those of a dead letter, and one to spare.
pub const MOST_HEADERS: usize = 10;

/// A record for a topic, as arguments, and how many they are. They point at the record's bytes.
pub(super) fn arguments(
    topic: *mut sys::rd_kafka_topic_t,
    partition: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header<'_>],
) -> ([Argument; 5 + MOST_HEADERS], usize) {
    let bytes = |bytes: Option<&[u8]>| {
        let (start, size) = bytes.map_or((ptr::null_mut(), 0), |b| (b.as_ptr().cast_mut().cast(), b.len()));
        Content { mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: start, size } }
    };
    let mut arguments = [Argument { vtype: kind::RD_KAFKA_VTYPE_RKT, u: Content { rkt: topic } }; 5 + MOST_HEADERS];
    arguments[1] = Argument { vtype: kind::RD_KAFKA_VTYPE_PARTITION, u: Content { i32_: partition } };
    arguments[2] = Argument { vtype: kind::RD_KAFKA_VTYPE_MSGFLAGS, u: Content { i: sys::RD_KAFKA_MSG_F_COPY } };
    arguments[3] = Argument { vtype: kind::RD_KAFKA_VTYPE_KEY, u: bytes(key) };
    arguments[4] = Argument { vtype: kind::RD_KAFKA_VTYPE_VALUE, u: bytes(value) };
    let mut count = 5;
    for header in headers.iter().take(MOST_HEADERS) {
        let content = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2 {
            name: header.name.as_ptr(),
            val: header.value.as_ptr().cast(),
            size: header.value.len() as isize,
        };
        arguments[count] = Argument { vtype: kind::RD_KAFKA_VTYPE_HEADER, u: Content { header: content } };
        count += 1;
    }
    (arguments, count)
}
