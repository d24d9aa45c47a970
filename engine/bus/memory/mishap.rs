//! What can befall a call.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use crate::bus::BusError;

/// What is asked of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Which log it is.
    Info,
    /// To read on from another place.
    Seek,
    /// Messages.
    NextBatch,
    /// The newest or oldest message of a subject.
    LookUp,
    /// To append to the input log.
    Append,
    /// To begin with an output log.
    Open,
    /// To store one output.
    Store,
}

/// What befalls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing.
    None,
    /// It is not done.
    Refused,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It takes so long. An output is so long on its way, and comes in even if its sender is dead by then.
    Slow(Duration),
}

/// Decides what befalls each call.
#[derive(Clone, Default)]
pub struct Chance(Option<Arc<Mutex<Decide>>>);

type Decide = dyn FnMut(Call) -> Mishap + Send;

impl Chance {
    /// Asked once for each call, in order.
    pub fn new(decide: impl FnMut(Call) -> Mishap + Send + 'static) -> Self {
        Chance(Some(Arc::new(Mutex::new(decide))))
    }

    /// What befalls this call.
    pub fn of(&self, call: Call) -> Mishap {
        self.0.as_ref().map_or(Mishap::None, |decide| (lock(decide))(call))
    }

    /// Waits as long as a slow call takes. Answers whether the answer is lost.
    pub(super) async fn befall(&self, call: Call) -> Result<bool, BusError> {
        match self.of(call) {
            Mishap::None => Ok(false),
            Mishap::AnswerLost => Ok(true),
            Mishap::Refused => Err(lost()),
            Mishap::Slow(how) => {
                tokio::time::sleep(how).await;
                Ok(false)
            }
        }
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_some() { "Chance" } else { "no chance" })
    }
}

/// A passing fault.
pub(super) fn lost() -> BusError {
    BusError::Retry { what: "memory log", why: "a fault was asked for".to_owned() }
}
