//! Library of this program.
