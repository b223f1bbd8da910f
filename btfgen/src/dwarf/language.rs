//! Languages of units: BTF describes C.

/// `DW_LANG_C_plus_plus_23` of the list of languages that follows DWARF 5.
const DW_LANG_C_PLUS_PLUS_23: gimli::DwLang = gimli::DwLang(0x3a);

/// Whether a unit's types are C's. Languages that are known to be others are told apart, so that a newer C is not taken for one.
pub(crate) fn is_c(language: u64) -> bool {
    let Ok(language) = u16::try_from(language).map(gimli::DwLang) else { return true };
    !matches!(
        language,
        gimli::DW_LANG_C_plus_plus
            | gimli::DW_LANG_C_plus_plus_03
            | gimli::DW_LANG_C_plus_plus_11
            | gimli::DW_LANG_C_plus_plus_14
            | gimli::DW_LANG_C_plus_plus_17
            | gimli::DW_LANG_C_plus_plus_20
            | DW_LANG_C_PLUS_PLUS_23
            | gimli::DW_LANG_Rust
            | gimli::DW_LANG_ObjC_plus_plus
            | gimli::DW_LANG_Go
            | gimli::DW_LANG_Swift
            | gimli::DW_LANG_D
            | gimli::DW_LANG_Zig
    )
}
