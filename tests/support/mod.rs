//! What the integration tests share.
// An inner `allow`, as each test binary uses another part of it, and what one leaves out another one needs.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod bus;
pub mod certificates;
pub mod cli;
pub mod histories;
pub mod nats;
pub mod oracle;
pub mod outcome;
pub mod rule_text;
pub mod running;
pub mod runs;
pub mod scenario;
pub mod scenario_check;
pub mod script;
pub mod site;
