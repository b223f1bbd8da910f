//! DWARF (versions 2 to 5) to BTF.
//!
//! `gimli` reads the headers of units and names the constants; abbreviations and DIEs are read here, because that is
//! where the time goes. The way of a kernel:
//!
//! 1. `plan` works out, for each abbreviation, which bytes of a DIE matter (`layout`, `form`, `cursor`: reading them).
//! 2. `unit` turns one unit's DIEs into a graph of BTF records (`members`, `far_members`, `functions`, `variables`, `names`, `tags`);
//!    `templates` spares it what it has done before. `calling`, `locations`, `packed`: whether a function is called as its prototype says.
//! 3. [`btf::dedup`] interns each graph as soon as it is read. Units are spread over threads; what comes out does not depend on how many.
//! 4. `kernel_symbols` puts functions (`signatures`: definitions that agree; `kfuncs`) and per-CPU variables beside the types.
//!
//! A unit that cannot be read is left out and reported; everything else is converted. Where units refer to each other's types
//! (link-time optimisation, `dwz`), all units are converted as one (`as_one`), with what they need of a supplementary file (`supplementary`).

mod as_one;
mod base_types;
mod calling;
mod convert;
mod cursor;
mod far_members;
mod form;
mod functions;
mod kernel_symbols;
mod kfuncs;
mod language;
mod layout;
mod locations;
mod members;
mod mend;
mod names;
mod packed;
mod plan;
mod references;
mod sections;
mod signatures;
mod supplementary;
mod tables;
mod tags;
mod templates;
mod unit;
mod unit_error;
mod units;
mod variables;

pub(crate) use convert::reads;
pub use convert::{Conversion, DwarfError, LostUnit, convert};
pub use supplementary::{Link, SupplementaryError};
pub use unit_error::UnitError;
