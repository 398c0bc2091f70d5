//! As much of Kafka's wire format as the proxy needs: frames with a length in front, and in them the kind of a request
//! and the number that its answer repeats.

use std::io::{self, Read};

/// Requests whose answers are interfered with: after them the client does not know whether its transaction counts.
const DOUBTFUL: [i16; 2] = [END_TXN, TXN_OFFSET_COMMIT];
const END_TXN: i16 = 26;
const TXN_OFFSET_COMMIT: i16 = 28;
/// No frame is longer: beyond the brokers' `socket.request.max.bytes`, and the clients' fetches.
const LONGEST: usize = 256 << 20;

/// Reads a frame, its length included, over what the buffer held; false at the end of the stream.
pub(super) fn read_frame(stream: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    }
    let body = u32::from_be_bytes(length) as usize;
    if body > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {body} bytes")));
    }
    frame.clear();
    frame.extend_from_slice(&length);
    frame.resize(4 + body, 0);
    stream.read_exact(&mut frame[4..])?;
    Ok(true)
}

/// The correlation id of a request whose answer leaves a client in doubt when it does not come.
pub(super) fn doubtful_request(frame: &[u8]) -> Option<i32> {
    // Length, kind, version, correlation id.
    let kind = i16::from_be_bytes(frame.get(4..6)?.try_into().ok()?);
    let correlation = i32::from_be_bytes(frame.get(8..12)?.try_into().ok()?);
    DOUBTFUL.contains(&kind).then_some(correlation)
}

/// The correlation id of an answer.
pub(super) fn answered(frame: &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(frame.get(4..8)?.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A request, or an answer when `kind` is absent.
    pub(crate) fn frame(kind: Option<i16>, correlation: i32, rest: &[u8]) -> Vec<u8> {
        let head = kind.map_or_else(Vec::new, |kind| [kind.to_be_bytes(), 3_i16.to_be_bytes()].concat());
        let body = [head.as_slice(), &correlation.to_be_bytes(), rest].concat();
        [(body.len() as u32).to_be_bytes().as_slice(), &body].concat()
    }

    #[test]
    fn frames_are_read_one_by_one_and_whole() {
        let (first, second) = (frame(Some(26), 7, b"abc"), frame(None, 8, b""));
        let mut stream = io::Cursor::new([first.clone(), second.clone()].concat());
        let mut buffer = b"what was there before, longer than any of them".to_vec();
        for expected in [first, second] {
            assert!(read_frame(&mut stream, &mut buffer).unwrap());
            assert_eq!(buffer, expected);
        }
        assert!(!read_frame(&mut stream, &mut buffer).unwrap());
    }

    #[test]
    fn a_frame_cut_short_or_absurdly_long_is_an_error() {
        let whole = frame(Some(26), 7, b"abc");
        assert!(read_frame(&mut &whole[..whole.len() - 1], &mut Vec::new()).is_err());
        assert!(read_frame(&mut &u32::MAX.to_be_bytes()[..], &mut Vec::new()).is_err());
    }

    #[test]
    fn only_the_ends_of_transactions_and_their_offsets_are_doubtful() {
        let found: Vec<i16> =
            (0..100).filter(|kind| doubtful_request(&frame(Some(*kind), 5, b"x")).is_some()).collect();
        assert_eq!(found, [26, 28]);
        assert_eq!(doubtful_request(&frame(Some(26), -3, b"")), Some(-3));
        assert_eq!(answered(&frame(None, 1234, b"rest")), Some(1234));
        assert_eq!((doubtful_request(b"abc"), answered(b"abc")), (None, None));
    }
}
