//! The daemon against its simulators, and the store against both engines. One binary; a file per promise.
mod wall;
