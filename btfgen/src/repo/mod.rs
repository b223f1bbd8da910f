//! Distributions' repositories: which packages hold which kernels, and who vouches for it.
//!
//! From the signature down, every step checks the next:
//!
//! 1. [`keyring`]: the distribution's keys sign the suite's `Release` file (`cleartext` is the form of `InRelease`);
//! 2. [`release`]: the `Release` file has the hash of the package index (kept between runs by [`index_cache`]);
//! 3. [`deb822`]: the index is read as a stream of paragraphs;
//! 4. `debian_kernel`: some of which describe a part of a kernel, with its hash.
//!
//! [`debian`] goes this way. What it finds, like what the reader of any other index finds, is an [`offer`], whose versions are
//! ordered by the rules of their package manager ([`version`]).

mod cleartext;
pub mod deb822;
pub mod debian;
mod debian_kernel;
pub mod index_cache;
pub(crate) mod indexed;
pub mod keyring;
pub mod offer;
pub mod release;
pub mod version;
