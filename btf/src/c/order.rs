//! In which order definitions come: what C must know wholly before, and what it must know only to exist.
//!
//! A member by value needs its type's definition; a pointer needs no more than a declaration. So types are visited depth first along both kinds of need,
//! and a struct that is only pointed to is declared in front. Every type is visited at most once for each need, with a stack of its own: however deep
//! or cyclic the blob is, this ends.

use crate::TypeId;
use crate::error::Result;
use crate::kind::Kind;
use crate::read::Btf;

/// What comes next in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `struct name;`
    Declare(TypeId),
    /// The definition: of a struct, union, enum or typedef with a name, of an unnamed enum, of a number that C has no word for.
    Define(TypeId),
}

/// How much must be known of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Declared,
    Complete,
}

enum Step {
    Visit(TypeId, Need),
    Define(TypeId),
}

const SEEN_DECLARED: u8 = 1;
const SEEN_COMPLETE: u8 = 2;
const DECLARED: u8 = 4;
const DEFINED: u8 = 8;

/// The order of everything that the `wanted` types need.
pub(super) fn order(
    btf: &Btf<'_>,
    wanted: impl Iterator<Item = TypeId>,
    has_alias: impl Fn(TypeId) -> bool,
) -> Result<Vec<Item>> {
    let mut order = Order {
        btf,
        has_alias,
        state: vec![0; btf.type_count() as usize],
        items: Vec::new(),
        stack: Vec::new(),
    };
    for id in wanted {
        order.stack.push(Step::Visit(id, Need::Complete));
        order.run()?;
        if btf.ty(id)?.kind().is_any_enum() && btf.ty(id)?.name_offset().0 == 0 {
            order.define(id);
        }
    }
    Ok(without_needless(order.items))
}

/// Without declarations that their definitions follow at once.
fn without_needless(items: Vec<Item>) -> Vec<Item> {
    let mut kept: Vec<Item> = Vec::with_capacity(items.len());
    for item in items {
        if let Item::Define(id) = item {
            let declared = kept.iter().rev().take_while(|item| matches!(item, Item::Declare(_)));
            if let Some(back) = declared.clone().position(|item| *item == Item::Declare(id)) {
                kept.remove(kept.len() - 1 - back);
            }
        }
        kept.push(item);
    }
    kept
}

struct Order<'b, 'a, F> {
    btf: &'b Btf<'a>,
    has_alias: F,
    state: Vec<u8>,
    items: Vec<Item>,
    stack: Vec<Step>,
}

impl<F: Fn(TypeId) -> bool> Order<'_, '_, F> {
    fn run(&mut self) -> Result<()> {
        while let Some(step) = self.stack.pop() {
            match step {
                Step::Visit(id, need) => self.visit(id, need)?,
                Step::Define(id) => self.define(id),
            }
        }
        Ok(())
    }

    fn define(&mut self, id: TypeId) {
        let state = &mut self.state[id.0 as usize];
        if *state & DEFINED == 0 {
            *state |= DEFINED | DECLARED;
            self.items.push(Item::Define(id));
        }
    }

    fn visit(&mut self, id: TypeId, need: Need) -> Result<()> {
        if id == TypeId::VOID {
            return Ok(());
        }
        let ty = self.btf.ty(id)?;
        let (kind, named) = (ty.kind(), ty.name_offset().0 != 0);
        if matches!(kind, Kind::Fwd) || kind.is_composite() && named && need == Need::Declared {
            if self.state[id.0 as usize] & DECLARED == 0 {
                self.state[id.0 as usize] |= DECLARED;
                self.items.push(Item::Declare(id));
            }
            return Ok(());
        }
        let seen = if need == Need::Complete { SEEN_COMPLETE } else { SEEN_DECLARED };
        if self.state[id.0 as usize] & seen != 0 {
            return Ok(());
        }
        self.state[id.0 as usize] |= seen;
        let defined = match kind {
            Kind::Typedef => true,
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => named,
            Kind::Int | Kind::Float => (self.has_alias)(id),
            _ => false,
        };
        if defined && self.state[id.0 as usize] & DEFINED == 0 {
            self.stack.push(Step::Define(id));
        }
        let below = match kind {
            Kind::Ptr | Kind::FuncProto | Kind::Func => Need::Declared,
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => need,
            Kind::Struct | Kind::Union | Kind::Array => Need::Complete,
            _ => return Ok(()),
        };
        let first = self.stack.len();
        let array = ty.array().map(|array| array.element);
        let all = ty.target().into_iter().chain(array).chain(ty.members().map(|member| member.ty));
        self.stack.extend(all.chain(ty.params().map(|param| param.ty)).map(|id| Step::Visit(id, below)));
        // The stack gives back the last one first; members are easier to follow in their own order.
        self.stack[first..].reverse();
        Ok(())
    }
}
