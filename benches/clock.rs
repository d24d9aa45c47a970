//! Clocks that count work: on a machine that does other things beside, the processor time of a thread or a process says
//! what it costs, and wall time how long it took.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Wall and processor time of a stretch of work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// How long it took.
    pub wall: Duration,
    /// How long the processor worked on it.
    pub cpu: Duration,
}

impl Spent {
    /// So many pieces of work a second of processor time.
    pub fn rate(&self, pieces: u64) -> f64 {
        pieces as f64 / self.cpu.as_secs_f64().max(1e-9)
    }

    /// So many pieces of work a second.
    pub fn wall_rate(&self, pieces: u64) -> f64 {
        pieces as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    /// Nanoseconds of processor time for one of so many pieces of work.
    pub fn nanos_each(&self, pieces: u64) -> f64 {
        self.cpu.as_nanos() as f64 / pieces.max(1) as f64
    }
}

/// Measures work of this thread.
pub fn thread<T>(work: impl FnOnce() -> T) -> (T, Spent) {
    measured(ClockId::ThreadCPUTime, work)
}

/// Measures work of this process, all its threads.
pub fn process<T>(work: impl FnOnce() -> T) -> (T, Spent) {
    measured(ClockId::ProcessCPUTime, work)
}

/// Processor time of this process so far.
pub fn process_cpu() -> Duration {
    now(ClockId::ProcessCPUTime)
}

/// Processor time of another process so far, as the kernel counts it: in hundredths of a second. Zero where it is gone.
pub fn cpu_of(pid: u32) -> Duration {
    const TICKS_A_SECOND: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold blanks; user and system time are the 12th and 13th word behind it.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks: u64 =
        behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_A_SECOND)
}

fn measured<T>(clock: ClockId, work: impl FnOnce() -> T) -> (T, Spent) {
    let (wall, cpu) = (Instant::now(), now(clock));
    let done = work();
    (done, Spent { wall: wall.elapsed(), cpu: now(clock).saturating_sub(cpu) })
}

fn now(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
