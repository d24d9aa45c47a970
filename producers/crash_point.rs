//! Places where a test lets the process die, as if the power of this one process were cut.
//!
//! `crash_point!(AfterKept)` stands where a death would hurt. Without the feature `crash-points` it is nothing: no code, no
//! name in the binary. With it, the process that was started with `SIGHTLINE_CRASH_POINT=after_kept:3` kills itself with
//! SIGKILL when it comes by for the third time. `tests/bridge/crash` starts such bridges and shows that what they bring onto
//! the bus in all their lives is what one undisturbed life brings.

/// The process may die here, after `$last`. Nothing without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
#[doc(hidden)]
macro_rules! crash_point {
    ($point:ident $(, $last:expr)?) => {};
}

/// The process may die here, after `$last`.
#[cfg(feature = "crash-points")]
#[macro_export]
#[doc(hidden)]
macro_rules! crash_point {
    ($point:ident $(, $last:expr)?) => {
        if $crate::crash_point::CrashPoint::$point.is_met() {
            $(let _ = $last;)?
            $crate::crash_point::CrashPoint::$point.die();
        }
    };
}

#[cfg(feature = "crash-points")]
pub use armed::{CrashPoint, ENV};

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// Names the point to die at, and at which pass: `after_kept:3`.
    pub const ENV: &str = "SIGHTLINE_CRASH_POINT";

    macro_rules! points {
        ($($(#[doc = $what:literal])+ $point:ident = $name:literal,)+) => {
            /// Where a process may die.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum CrashPoint {
                $($(#[doc = $what])+ $point,)+
            }

            impl CrashPoint {
                /// All of them, in the order in which an event comes by.
                pub const ALL: &[CrashPoint] = &[$(CrashPoint::$point,)+];

                /// The point as it is named outside.
                pub const fn name(self) -> &'static str {
                    match self {
                        $(CrashPoint::$point => $name,)+
                    }
                }
            }
        };
    }

    points! {
        /// Records were read; nothing of them is handed over.
        AfterRead = "after_read",
        /// The bytes as they came are kept; no event of them is.
        AfterEvidence = "after_evidence",
        /// Events were handed over; none is known to be kept.
        AfterHandOver = "after_hand_over",
        /// A record is being written to the spool: half of it is there.
        HalfRecord = "half_record",
        /// A record is in the spool; nobody was told.
        AfterRecord = "after_record",
        /// A record of a batch was rejected and is kept; the batch is not at its end.
        AfterReject = "after_reject",
        /// All that was read is kept; the cursor has not moved, and whoever posted was not answered.
        AfterKept = "after_kept",
        /// How far a file was read that is left is noted; that the next one follows is not.
        AfterLeaving = "after_leaving",
        /// The cursor has moved, and is not flushed.
        BeforeCursorFlush = "before_cursor_flush",
        /// The cursor has moved.
        AfterCursor = "after_cursor",
        /// What came from a stream is kept and noted; the server was not told of it.
        BeforeStreamAck = "before_stream_ack",
        /// A message was handed to the client.
        AfterSend = "after_send",
        /// The server acknowledged a message; nobody has heard of it.
        AfterAcknowledgement = "after_acknowledgement",
        /// What the spool need not send again is noted; segments that are done lie there still.
        AfterSpoolCursor = "after_spool_cursor",
    }

    struct Armed {
        point: CrashPoint,
        passes_left: AtomicU32,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    impl CrashPoint {
        /// Whether this is the pass to die at.
        pub fn is_met(self) -> bool {
            let Some(armed) = ARMED.get_or_init(read) else { return false };
            armed.point == self && armed.passes_left.fetch_sub(1, Ordering::Relaxed) == 1
        }

        /// Does not return.
        pub fn die(self) -> ! {
            eprintln!("crash point {}", self.name());
            kill_process(getpid(), Signal::KILL).expect("a process may signal itself");
            loop {
                // SIGKILL is on its way to every thread.
                std::thread::park();
            }
        }
    }

    fn read() -> Option<Armed> {
        let text = std::env::var(ENV).ok()?;
        let parsed = text.split_once(':').and_then(|(name, nth)| {
            let point = CrashPoint::ALL.iter().copied().find(|point| point.name() == name)?;
            nth.parse().ok().filter(|nth| *nth > 0).map(|nth| (point, nth))
        });
        // A test that waits for a death which cannot come should hear why.
        let (point, nth) = parsed.unwrap_or_else(|| panic!("{ENV}={text:?}: expected name:nth, nth from 1"));
        Some(Armed { point, passes_left: AtomicU32::new(nth) })
    }
}
