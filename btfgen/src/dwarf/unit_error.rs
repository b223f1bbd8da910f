//! Why a unit is not converted.

use super::cursor::Truncated;
use super::form::FormError;

/// Why a unit was not converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A DIE or attribute runs past the end of the unit.
    #[error("it ends in the middle of a DIE")]
    Truncated,
    /// A DIE of an abbreviation that the unit's table does not have.
    #[error("abbreviation code {0} is not in its table")]
    Abbreviation(u64),
    /// An attribute form that is not in DWARF 2 to 5 or its GNU extensions.
    #[error("attribute form 0x{0:x} is unknown")]
    Form(u16),
    /// The unit's DIEs are in another file.
    #[error(
        "its DIEs are in a separate file (split DWARF, {0}); give a file with the whole debug information"
    )]
    Split(String),
    /// It refers to a supplementary file.
    #[error("it refers to a supplementary file (dwz, .gnu_debugaltlink), which was not given")]
    Supplementary,
    /// A type in another unit is referred to; such files are converted in one piece.
    #[error("it refers to types of other units")]
    Foreign,
    /// It refers to a type unit that is not there.
    #[error("it refers to the type unit 0x{0:016x}, which is not in the file")]
    NoTypeUnit(u64),
    /// The abbreviation table cannot be read.
    #[error("its abbreviation table at offset 0x{0:x} cannot be read: {1}")]
    Table(usize, String),
    /// More types or members than a BTF record or 32-bit offsets can hold.
    #[error("it is too large: {0}")]
    TooLarge(&'static str),
}

impl From<Truncated> for UnitError {
    fn from(_: Truncated) -> Self {
        UnitError::Truncated
    }
}

impl From<FormError> for UnitError {
    fn from(error: FormError) -> Self {
        match error {
            FormError::Truncated => UnitError::Truncated,
            FormError::Unknown(form) => UnitError::Form(form.0),
        }
    }
}
