//! Compressed messages, unpacked without trust: a few bytes can be made to say gigabytes.

use std::io::Read;

use sightline_schemas::edge::{Reason, Reject};

/// Most bytes that a compressed message may grow to: far more than a frame of the largest number of usual events.
pub const UNPACKED_BYTES_MAX: usize = 32 << 20;
/// Most times its size that a compressed message may grow to. Events compress twenty or fifty times; what compresses a
/// thousand times is one event again and again.
pub const UNPACKED_RATIO_MAX: usize = 256;
/// A message may grow to so many bytes whatever its size: small frames of equal events are no attack.
const ALWAYS_ALLOWED_BYTES: usize = 1 << 20;
/// Largest window, as a power of two, that the decoder makes room for: what level 19 uses.
const WINDOW_LOG_MAX: u32 = 23;

/// Unpacks a body of this `Content-Encoding` into `room`.
///
/// # Errors
/// When it is no such body, or would grow too large.
pub fn unpack(body: &[u8], encoding: &str, room: &mut Vec<u8>) -> Result<(), Reject> {
    if encoding != "zstd" {
        let detail = format!("Content-Encoding {encoding:?}: use zstd or none");
        return Err(Reject::new(Reason::Undecodable, detail));
    }
    if body.is_empty() {
        return Err(Reject::new(Reason::Undecodable, "Content-Encoding zstd, and the body is empty"));
    }
    let no_zstd = |error: std::io::Error| {
        Reject::new(Reason::Undecodable, format!("Content-Encoding zstd, and the body is none: {error}"))
    };
    let allowed =
        body.len().saturating_mul(UNPACKED_RATIO_MAX).clamp(ALWAYS_ALLOWED_BYTES, UNPACKED_BYTES_MAX);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(no_zstd)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(no_zstd)?;
    room.clear();
    // One byte more than allowed tells that there is more.
    let read = decoder.take(allowed as u64 + 1).read_to_end(room).map_err(no_zstd)?;
    if read > allowed {
        room.clear();
        let detail = format!(
            "Content-Encoding zstd: {} bytes grow beyond {allowed}; at most {UNPACKED_RATIO_MAX} times their size \
             and {UNPACKED_BYTES_MAX} bytes are taken",
            body.len()
        );
        return Err(Reject::new(Reason::TooLarge, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).expect("memory takes everything")
    }

    #[test]
    fn what_was_packed_comes_out() {
        let text = br#"{"kind":"a"}"#.repeat(1_000);
        let mut room = b"left over".to_vec();
        unpack(&packed(&text), "zstd", &mut room).expect("it is zstd");
        assert_eq!(room, text);
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let bomb = packed(&vec![b' '; 200 << 20]);
        assert!(bomb.len() < 64 << 10);
        let mut room = Vec::new();
        let refused = unpack(&bomb, "zstd", &mut room).map_err(|reject| reject.reason);
        assert_eq!(refused, Err(Reason::TooLarge));
        assert!(room.capacity() <= 2 * UNPACKED_BYTES_MAX, "{} bytes were made room for", room.capacity());
    }

    #[test]
    fn a_few_bytes_that_ask_for_a_large_window_are_refused_before_there_is_room_for_it() {
        let frame = |window_log: u32| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("memory takes everything");
            encoder.window_log(window_log).expect("a window that zstd knows");
            std::io::Write::write_all(&mut encoder, b"{}").expect("memory takes everything");
            encoder.finish().expect("memory takes everything")
        };
        let mut room = Vec::new();
        unpack(&frame(WINDOW_LOG_MAX), "zstd", &mut room).expect("as large as it may be");
        let refused = unpack(&frame(WINDOW_LOG_MAX + 1), "zstd", &mut room).map_err(|reject| reject.reason);
        assert_eq!(refused, Err(Reason::Undecodable));
    }

    #[test]
    fn what_is_no_zstd_is_refused() {
        let mut room = Vec::new();
        let whole = packed(b"{}");
        for body in [&b"{}"[..], &whole[..whole.len() - 1], b""] {
            let refused = unpack(body, "zstd", &mut room).map_err(|reject| reject.reason);
            assert_eq!(refused, Err(Reason::Undecodable), "{body:?}");
        }
        assert!(unpack(b"{}", "gzip", &mut room).is_err());
    }
}
