//! Distributions' repositories: which packages hold which kernels, and who vouches for it.
//!
//! [`Reader`] reads a repository of any kind ([`crate::distro::Kind`]). From the signature down, every step checks the next. In Debian's:
//!
//! 1. [`keyring`]: the distribution's keys sign the suite's `Release` file (`cleartext` is the form of `InRelease`);
//! 2. `release`: the `Release` file has the hash of the package index (kept between runs by [`index_cache`]);
//! 3. `deb822`: the index is read as a stream of paragraphs.
//!
//! In RPM's: `repomd` is signed and has the hash of `primary_xml` or `primary_db`. `listing`, `snapshot`, `debuginfod` and `directory` have nothing to
//! check but where they come from.
//!
//! What an index says is compressed (`decode`), may be XML (`xml`), names packages (`indexed`) and their places (`location`), all of which may be a
//! stranger's attack. Of a million packages `found` keeps those that are parts of kernels, and puts them together: an [`offer`], whose
//! versions are ordered by the rules of their package manager ([`version`]).

mod cleartext;
pub(crate) mod deb822;
mod debuginfod;
mod decode;
mod directory;
pub mod error;
mod found;
#[doc(hidden)]
pub mod fuzzing;
pub mod index_cache;
pub(crate) mod indexed;
pub mod keyring;
mod listing;
mod location;
pub mod offer;
mod open;
mod primary_db;
mod primary_xml;
pub mod release;
mod repomd;
mod snapshot;
mod suite;
pub mod version;
mod xml;

pub use error::Error;
pub use found::{Parts, kernels};
pub use open::{Opened, Reader};
