//! What an archive of kernel BTF is.
