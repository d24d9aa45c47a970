//! `sightline-bridge`: every source onto the bus.
fn main() {}
