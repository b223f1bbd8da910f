//! HTTP's own rules, apart from what we serve: pure functions over headers and bytes, without a store or a catalog.
//!
//! - [`address`]: paths and query strings, with no parameter left unread;
//! - [`conditional`]: `If-Match`, `If-None-Match` and `If-Range` against a strong entity tag (RFC 9110, section 13);
//! - [`encoding`]: which content coding `Accept-Encoding` asks for (section 12.5.3);
//! - [`range`]: which bytes `Range` asks for (section 14);
//! - [`representation`]: the three above put together into one answer;
//! - [`problem`]: errors as problem documents (RFC 9457).

pub(crate) mod address;
pub(crate) mod conditional;
pub(crate) mod encoding;
pub(crate) mod problem;

pub(crate) mod range;
pub(crate) mod representation;
