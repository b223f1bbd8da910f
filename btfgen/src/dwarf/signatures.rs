//! Prototypes reduced to a number, by which definitions of one function in several units are compared.
//!
//! What counts is what a caller sees: names of structs, unions, enums and typedefs stand for what they name, `const` counts only on `void`,
//! and the names of parameters do not.

use std::hash::{BuildHasher, Hasher};

use btf::Kind;
use btf::dedup::{LocalId, Unit};
use btf::kind::Info;

/// How many types of one prototype are looked at: more than any in C has, and few enough that hostile types, which may
/// repeat each other without end, cost no time.
const MAX_STEPS: u32 = 1 << 12;

/// How deep prototypes may be in prototypes.
const MAX_DEPTH: u32 = 32;

/// The number of a prototype.
pub(crate) fn signature(unit: &Unit<'_>, result: LocalId, params: impl Iterator<Item = LocalId>) -> u64 {
    let mut writer =
        Writer { unit, hasher: foldhash::fast::FixedState::default().build_hasher(), steps: MAX_STEPS };
    writer.ty(result, 0);
    for param in params {
        writer.ty(param, 0);
    }
    writer.hasher.finish()
}

struct Writer<'u, H> {
    unit: &'u Unit<'u>,
    hasher: H,
    steps: u32,
}

impl<H: Hasher> Writer<'_, H> {
    fn ty(&mut self, id: LocalId, depth: u32) {
        let mut id = id;
        loop {
            let &[name, info, third, ref payload @ ..] = self.unit.record(id) else {
                // void, told apart from all kinds
                return self.hasher.write_u32(0);
            };
            if self.steps == 0 || depth > MAX_DEPTH {
                return;
            }
            self.steps -= 1;
            let Some(kind) = Kind::from_number(Info(info).kind_number()) else { return };
            let kind = match kind {
                Kind::Fwd if Info(info).kind_flag() => Kind::Union,
                Kind::Fwd => Kind::Struct,
                kind => kind,
            };
            if kind == Kind::Const && !self.unit.record(LocalId(third)).is_empty() {
                id = LocalId(third);
                continue;
            }
            self.hasher.write_u32(kind as u32 + 1);
            match kind {
                Kind::Int => [name, third, payload.first().copied().unwrap_or(0)]
                    .into_iter()
                    .for_each(|word| self.hasher.write_u32(word)),
                Kind::Float => [name, third].into_iter().for_each(|word| self.hasher.write_u32(word)),
                Kind::Array => {
                    let &[element, _, len] = payload else { return };
                    self.hasher.write_u32(len);
                    id = LocalId(element);
                    continue;
                }
                Kind::FuncProto => {
                    self.hasher.write_u32(payload.len() as u32);
                    self.ty(LocalId(third), depth + 1);
                    for [_, param] in payload.as_chunks().0 {
                        self.ty(LocalId(*param), depth + 1);
                    }
                }
                Kind::Ptr | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                    id = LocalId(third);
                    continue;
                }
                _ => self.hasher.write_u32(name),
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use btf::dedup::{Name, Pool, head};

    use super::*;

    /// Check what counts: not `const` but on `void`, not whether a struct is only declared, but pointers and names.
    #[test]
    fn what_counts() {
        let pool = Pool::new();
        let mut unit = Unit::new(&pool);
        let mut of = |kind: Kind, name: &[u8], third: u32| {
            unit.push(head(pool.name(name), kind, 0, false, third), &[]).0
        };
        let s = of(Kind::Struct, b"s", 4);
        let declared = of(Kind::Fwd, b"s", 0);
        let other = of(Kind::Struct, b"t", 4);
        let constant = of(Kind::Const, b"", s);
        let [to_s, to_declared, to_other, to_constant, to_void] =
            [s, declared, other, constant, 0].map(|target| of(Kind::Ptr, b"", target));
        let constant_void = of(Kind::Const, b"", 0);
        let to_constant_void = of(Kind::Ptr, b"", constant_void);
        let number = |id| signature(&unit, LocalId(0), [LocalId(id)].into_iter());
        assert_eq!(number(to_s), number(to_declared));
        assert_eq!(number(to_s), number(to_constant));
        assert_ne!(number(to_s), number(to_other));
        assert_ne!(number(to_s), number(s));
        assert_ne!(number(to_void), number(to_constant_void));
        assert_ne!(number(to_void), signature(&unit, LocalId(to_void), std::iter::empty()));
        assert_eq!(Name::EMPTY, pool.name(b""));
    }

    /// Check that prototypes which repeat each other without end cost bounded time.
    #[test]
    fn endless() {
        let pool = Pool::new();
        let mut unit = Unit::new(&pool);
        let params: Vec<u32> = (0..100).flat_map(|_| [0, 1]).collect();
        let id = unit.push(head(Name::EMPTY, Kind::FuncProto, 100, false, 1), &params);
        signature(&unit, id, std::iter::repeat_n(id, 100));
    }
}
