//! Variables: those of the per-CPU section become VARs and one DATASEC.

use btf::dedup::Unit;
use gimli::Encoding;

use super::cursor::Cursor;
use super::form::Value;
use super::members::size_of;
use super::names::Text;
use super::references::Finder;

/// A variable's DIE, outside of functions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variable {
    /// DIE offset.
    pub(crate) offset: u32,
    pub(crate) name: Text,
    /// DIE offset of the type; a local id once the unit is resolved.
    pub(crate) ty: u32,
    /// DIE offset of the declaration that this defines.
    pub(crate) origin: u32,
    pub(crate) external: bool,
    /// Size of the type in bytes, once the unit is resolved; 0 if it is unknown.
    pub(crate) size: u64,
    /// Its address, if it is a definition at a fixed one.
    pub(crate) address: Option<u64>,
}

/// The address that a location expression is, if it is one: `DW_OP_addr` or `DW_OP_addrx`, and `DW_OP_plus_uconst` after it.
pub(crate) fn address_of<const BIG: bool>(
    location: Option<Value<'_>>,
    encoding: Encoding,
    by_index: impl FnOnce(u64) -> Option<u64>,
) -> Option<u64> {
    let Some(Value::Block(expression)) = location else { return None };
    let mut cursor = Cursor::<BIG>::new(expression, 0);
    let address = match gimli::DwOp(cursor.u8().ok()?) {
        gimli::DW_OP_addr => cursor.word(encoding.address_size).ok()?,
        gimli::DW_OP_addrx | gimli::DW_OP_GNU_addr_index => by_index(cursor.uleb().ok()?)?,
        _ => return None,
    };
    if cursor.is_at_end() {
        return Some(address);
    }
    if gimli::DwOp(cursor.u8().ok()?) != gimli::DW_OP_plus_uconst {
        return None;
    }
    let plus = cursor.uleb().ok()?;
    cursor.is_at_end().then(|| address.wrapping_add(plus))
}

/// Turns types into local ids, and gives definitions the name, type and linkage of their declarations.
pub(crate) fn resolve(variables: &mut [Variable], unit: &Unit<'_>, finder: &Finder<'_>, address_size: u8) {
    for index in 0..variables.len() {
        let origin = variables[index].origin;
        let found = variables.binary_search_by_key(&origin, |variable| variable.offset);
        if origin != 0
            && let Ok(declaration) = found.map(|at| variables[at])
        {
            let variable = &mut variables[index];
            variable.name = variable.name.or(declaration.name);
            if variable.ty == 0 {
                variable.ty = declaration.ty;
            }
            variable.external |= declaration.external;
        }
    }
    // Types become ids only now, for definitions take the offsets of their declarations.
    for variable in variables {
        let id = finder.find(variable.ty);
        variable.ty = id.0;
        if variable.address.is_some() {
            variable.size = size_of(unit, id, address_size).unwrap_or(0);
        }
    }
}
