//! How archives travel: what mirrors, exports and imports share.
//!
//! - [`head`]: the files that name and sign the newest snapshot, and whether to believe them;
//! - [`wanted`]: which blobs a selection of its kernels needs.

pub mod head;
pub mod wanted;
