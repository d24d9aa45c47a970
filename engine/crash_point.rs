//! Places where a test lets the process die, as if the power of this one process were cut.
//!
//! `crash_point!(AfterDecode)` stands where a death would hurt. Without the feature `crash-points` it is nothing: no
//! code, no name in the binary. With it, the process that was started with `SIGHTLINE_CRASH_POINT=after_decode:3` kills
//! itself with SIGKILL when it comes by for the third time. `tests/crash` starts such processes and shows that what they
//! publish in all their lives is what one undisturbed life publishes.
//!
//! No room of the house, but under all of them: bus, state and worker come by here, and nothing comes back.

/// The process may die here. Nothing without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
macro_rules! crash_point {
    ($point:ident) => {};
}

/// The process may die here.
#[cfg(feature = "crash-points")]
macro_rules! crash_point {
    ($point:ident) => {
        $crate::crash_point::CrashPoint::$point.pass()
    };
}

#[cfg(feature = "crash-points")]
pub use armed::{CrashPoint, ENV};

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// Names the point to die at, and at which pass: `after_decode:3`.
    pub const ENV: &str = "SIGHTLINE_CRASH_POINT";

    macro_rules! points {
        ($($(#[doc = $what:literal])+ $point:ident = $name:literal,)+) => {
            /// Where a process may die.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum CrashPoint {
                $($(#[doc = $what])+ $point,)+
            }

            impl CrashPoint {
                /// All of them, in the order in which a life comes by.
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
        /// The checkpoint was read; nothing is decided by it yet.
        AfterLoad = "after_load",
        /// A refused checkpoint was put aside; nothing is rebuilt yet.
        AfterClear = "after_clear",
        /// The worker stands at its place in the log, and has not read on.
        AfterBegin = "after_begin",
        /// Rules were put into the log; they are not in force yet.
        AfterAnnounce = "after_announce",
        /// Messages were read, and not decoded.
        BeforeDecode = "before_decode",
        /// Messages were decoded and their effects decided; nothing is said of them.
        AfterDecode = "after_decode",
        /// Effects that were published in an earlier life were swallowed again.
        InSilentReplay = "in_silent_replay",
        /// Incidents are about to be published.
        BeforePublish = "before_publish",
        /// The first of several outputs is handed over, the rest is not.
        MidPublish = "mid_publish",
        /// Incidents of a batch are under way, its dead letters are not.
        BetweenOutputs = "between_outputs",
        /// Everything of a batch is under way, and perhaps nothing acknowledged.
        AfterPublish = "after_publish",
        /// An output was acknowledged.
        AfterAcknowledgement = "after_acknowledgement",
        /// A tick of time is about to be written into the log.
        BeforeTick = "before_tick",
        /// A tick of time was written into the log.
        AfterTick = "after_tick",
        /// A checkpoint is due; outputs may be under way.
        BeforeOutputFlush = "before_output_flush",
        /// Every output is acknowledged; the checkpoint is not begun.
        AfterOutputFlush = "after_output_flush",
        /// The states that changed are encoded; nothing is handed to the store.
        AfterEncode = "after_encode",
        /// The store has everything ready, and has written nothing.
        BeforeBatch = "before_batch",
        /// The store took the batch; it is not flushed.
        AfterBatch = "after_batch",
        /// The batch, and in it the switch to the new manifest, is flushed; it is not forced to the disk.
        AfterStoreFlush = "after_store_flush",
        /// The checkpoint is forced to the disk; that there is one at all may not be noted yet.
        AfterSync = "after_sync",
        /// The checkpoint is committed; the loop has not heard of it.
        AfterCommit = "after_commit",
        /// The loop has heard that the checkpoint is committed.
        AfterSaved = "after_saved",
        /// The operator asked to stop; the last checkpoint is not begun.
        InDrain = "in_drain",
        /// The last checkpoint before the end is written; the process is about to end.
        AfterDrain = "after_drain",
    }

    struct Armed {
        point: CrashPoint,
        passes_left: AtomicU32,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    impl CrashPoint {
        /// The process came by. Does not return where this is the pass to die at.
        pub fn pass(self) {
            let Some(armed) = ARMED.get_or_init(read) else { return };
            if armed.point == self && armed.passes_left.fetch_sub(1, Ordering::Relaxed) == 1 {
                die(self);
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

    fn die(point: CrashPoint) -> ! {
        eprintln!("crash point {}", point.name());
        kill_process(getpid(), Signal::KILL).expect("a process may signal itself");
        loop {
            // SIGKILL is on its way to every thread.
            std::thread::park();
        }
    }
}
