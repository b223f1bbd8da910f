//! DWARF (versions 2 to 5) to BTF.
//!
//! `gimli` reads the headers of units and names the constants; abbreviations and DIEs are read here, because that is
//! where the time goes. The way of a kernel:
//!
//! 1. `plan` works out, for each abbreviation, which bytes of a DIE matter (`layout`, `form`, `cursor`: reading them).
//! 2. `unit` turns one unit's DIEs into a graph of BTF records (`members`, `functions`, `variables`, `names`);
//!    `templates` spares it what it has done before.
//! 3. [`btf::dedup`] interns each graph as soon as it is read. Units are spread over threads; what comes out does not depend on how many.
//! 4. `convert` puts functions and per-CPU variables beside the types and writes the result.
//!
//! A unit that cannot be read is left out and reported; everything else is converted. Where units refer to each other's types
//! (link-time optimisation, `dwz`), all units are converted as one.

mod base_types;
mod convert;
mod cursor;
mod form;
mod functions;
mod kernel_symbols;
mod language;
mod layout;
mod members;
mod mend;
mod names;
mod plan;
mod references;
mod tables;
mod templates;
mod unit;
mod unit_error;
mod units;
mod variables;

pub use convert::{Conversion, DwarfError, LostUnit, convert};
pub use unit_error::UnitError;
