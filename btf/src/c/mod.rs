//! BTF as C: a header (`vmlinux.h`) that a BPF program can be compiled with.
//!
//! What the header must keep is layout: every type has the size and every member the offset that BTF says, whatever padding, packing and
//! bitfields that takes. Names come second: where C cannot have two things of one name, the later one gets a flavour (`name___2`), which CO-RE
//! ignores. BTF strings are not trusted: nothing but identifiers gets into the header.
//!
//! - `names`: what each type is called;
//! - `order`: which definitions must come before which;
//! - `layout`: where C would put members by itself, and what makes it put them where they are;
//! - `print`: declarations;
//! - `header`: the file;
//! - [`Declarations`]: single lines, for reports.

mod declarations;
mod header;
mod layout;
mod names;
mod order;
mod print;

pub use declarations::Declarations;
pub use header::{HeaderOptions, header};
pub(crate) use names::identifier;
