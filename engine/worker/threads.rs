//! Work that keeps a thread busy: beside the runtime's other tasks where there are threads for it, in turn with them where
//! there is one thread only. There the order of everything is fixed, which the simulation lives on.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;

/// Computes without keeping the runtime's other tasks waiting.
pub fn computing<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Begins work that waits for the disk.
pub fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::spawn_blocking(work),
        _ => tokio::spawn(async move { work() }),
    }
}
