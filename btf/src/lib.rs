//! The BTF format.
