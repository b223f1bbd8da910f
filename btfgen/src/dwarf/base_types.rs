//! Base types: INT and FLOAT, and what neither can say.

use btf::Kind;
use btf::dedup::{Name, head};
use btf::kind::{INT_BOOL, INT_SIGNED};

use super::unit::{Attrs, Reader};

impl Reader<'_> {
    /// Takes in a `DW_TAG_base_type`.
    pub(super) fn base_type(&mut self, offset: u32, attrs: &Attrs<'_>) {
        let size = attrs.byte_size.unwrap_or(0);
        let name = attrs.name;
        let encoding = gimli::DwAte(attrs.encoding as u8);
        let id = self.reserve(offset);
        match encoding {
            gimli::DW_ATE_float if matches!(size, 2 | 4 | 8 | 12 | 16) => {
                self.unit.define(id, head(name, Kind::Float, 0, false, size as u32), &[]);
                return;
            }
            // Two numbers of half the size, which is how C lays them out. The array's index type is set with all others'.
            gimli::DW_ATE_complex_float if matches!(size, 4 | 8 | 16 | 24 | 32) => {
                self.degraded += 1;
                let part = match size {
                    4 => "_Float16",
                    8 => "float",
                    16 => "double",
                    _ => "long double",
                };
                let part = self.pool.name(part.as_bytes());
                let part = self.hidden(head(part, Kind::Float, 0, false, size as u32 / 2), &[]);
                self.unit.define(id, head(Name::EMPTY, Kind::Array, 0, false, 0), &[0, 0, 2]);
                self.late.push((id, 3, part));
                self.arrays.push(id);
                return;
            }
            _ => {}
        }
        let flags = match encoding {
            gimli::DW_ATE_signed | gimli::DW_ATE_signed_char => INT_SIGNED,
            gimli::DW_ATE_boolean => INT_BOOL,
            _ => 0,
        };
        let (name, size, flags) = match size {
            1 | 2 | 4 | 8 | 16 => (name, size as u32, flags),
            _ => {
                self.degraded += 1;
                (self.pool.name(b"__SANITIZED_FAKE_INT__"), 4, flags)
            }
        };
        if size == 4 && flags == INT_SIGNED && self.int.0 == 0 && name == self.int_name {
            self.int = id;
        }
        self.unit.define(id, head(name, Kind::Int, 0, false, size), &[u32::from(flags) << 24 | (size * 8)]);
    }
}
