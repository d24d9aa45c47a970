//! What the worker must remember.

pub mod table;
