//! The program as its users meet it: the real binary with a real archive on loopback, asked by an HTTP library, by hand-made
//! bytes, and by the real tools that its dialects are for.

mod btf;
mod commands;
mod conditions;
mod dialects;
mod harness;
mod hostile;
mod kernels;
mod keys;
mod lookup;
mod operations;
#[path = "../../../archive/tests/postgres/mod.rs"]
mod postgresql;
#[path = "../../../archive/tests/s3/mod.rs"]
mod s3_server;
mod tree;
mod upkeep;
mod verify;
