//! Bringing bytes over HTTP: time limits, retries, resumption, and an early stop.
