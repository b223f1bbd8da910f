//! The rules of CO-RE, as libbpf has them.

use btf::Endian;

use super::{Field, Shape, World};

/// A relocation; `kind` is the number in the format.
#[derive(Clone, Debug)]
pub(crate) struct Relo {
    pub(crate) root: usize,
    pub(crate) access: Vec<u32>,
    pub(crate) kind: u32,
    /// Whether it is on a load rather than on an assignment.
    pub(crate) load: bool,
}

/// What becomes of it: a value (and the size of the load), or poison, or an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Value(u64, Option<(u32, bool)>),
    Poison,
    Error,
}

/// One candidate's answer: `None` for no match.
type Verdict = Result<Option<Hit>, ()>;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Hit {
    bits: u32,
    value: u64,
    load: Option<(u32, bool)>,
}

/// A step of an access in either world: (composite or element type, index, name).
#[derive(Clone, Debug)]
struct Step {
    ty: usize,
    index: u32,
    name: Option<String>,
}

pub(crate) struct Rules<'w> {
    pub(crate) local: &'w World,
    pub(crate) target: &'w World,
    pub(crate) target_pointer: u32,
    pub(crate) endian: Endian,
}

pub(crate) fn essential(name: &str) -> &str {
    let bytes = name.as_bytes();
    let at = (0..bytes.len().saturating_sub(4))
        .rev()
        .find(|&at| bytes[at] != b'_' && &bytes[at + 1..at + 4] == b"___" && bytes[at + 4] != b'_');
    at.map_or(name, |at| &name[..=at])
}

/// 1 to 19, enums of both widths alike; 0 for void.
fn rank(shape: &Shape) -> u8 {
    match shape {
        Shape::Void => 0,
        Shape::Int { .. } => 1,
        Shape::Ptr(_) => 2,
        Shape::Array { .. } => 3,
        Shape::Composite { union, .. } => 4 + u8::from(*union),
        Shape::Enum { .. } => 6,
        Shape::Fwd { .. } => 7,
        Shape::Alias(kind, _) | Shape::Other(kind) => kind.number(),
        Shape::Proto { .. } => 13,
        Shape::Float { .. } => 16,
    }
}

/// The size that libbpf's `determine_ptr_size` would find.
pub(crate) fn pointer_size(world: &World) -> u32 {
    let long = |name: &str| {
        let mut words: Vec<_> = name.split(' ').collect();
        words.sort_unstable();
        matches!(&words[..], ["long"] | ["int", "long"] | ["long", "unsigned"] | ["int", "long", "unsigned"])
    };
    world
        .types
        .iter()
        .find_map(|ty| match ty.shape {
            Shape::Int { size: size @ (4 | 8), .. } if long(&ty.name) => Some(size),
            _ => None,
        })
        .unwrap_or(8)
}

fn size_of(world: &World, pointer: u32, id: usize) -> Result<u32, ()> {
    fn of(world: &World, pointer: u32, id: usize, steps: u32) -> Result<u64, ()> {
        if steps == 32 {
            return Err(());
        }
        let size = match world.shape(id) {
            Shape::Int { size, .. }
            | Shape::Float { size }
            | Shape::Composite { size, .. }
            | Shape::Enum { size, .. } => u64::from(*size),
            Shape::Ptr(_) => pointer.into(),
            Shape::Alias(_, target) => of(world, pointer, *target, steps + 1)?,
            Shape::Array { element, len, .. } => of(world, pointer, *element, steps + 1)? * u64::from(*len),
            _ => return Err(()),
        };
        if size > u64::from(u32::MAX) { Err(()) } else { Ok(size) }
    }
    of(world, pointer, id, 0).map(|size| size as u32)
}

fn members(world: &World, id: usize) -> Option<&Vec<Field>> {
    match world.shape(id) {
        Shape::Composite { members, .. } => Some(members),
        _ => None,
    }
}

impl Rules<'_> {
    /// Resolves relocations in this order, as a loader does that loads just these programs.
    pub(crate) fn resolve(&self, relos: &[&Relo]) -> Vec<Answer> {
        let mut narrowed: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut answers = Vec::new();
        for relo in relos {
            if relo.kind == 6 {
                let whole = relo.access == [0];
                answers.push(if whole { Answer::Value(relo.root as u64, None) } else { Answer::Error });
                continue;
            }
            let name = essential(&self.local.types[relo.root].name);
            if name.is_empty() {
                answers.push(Answer::Error);
                continue;
            }
            if !narrowed.iter().any(|(root, _)| *root == relo.root) {
                let wanted = rank(self.local.shape(relo.root));
                let all = (1..self.target.types.len()).filter(|&id| {
                    let ty = &self.target.types[id];
                    essential(&ty.name) == name && rank(&ty.shape) == wanted
                });
                narrowed.push((relo.root, all.collect()));
            }
            let candidates = &mut narrowed.iter_mut().find(|(root, _)| *root == relo.root).unwrap().1;
            answers.push(self.one(relo, candidates));
        }
        answers
    }

    fn one(&self, relo: &Relo, candidates: &mut Vec<usize>) -> Answer {
        let Ok((steps, _)) = self.understand(relo) else { return Answer::Error };
        let mut hits: Vec<(usize, Hit)> = Vec::new();
        for &candidate in candidates.iter() {
            match self.judge(relo, &steps, candidate) {
                Err(()) => return Answer::Error,
                Ok(None) => {}
                Ok(Some(hit)) => {
                    if hits
                        .first()
                        .is_some_and(|(_, first)| (first.bits, first.value) != (hit.bits, hit.value))
                    {
                        return Answer::Error;
                    }
                    hits.push((candidate, hit));
                }
            }
        }
        match hits.first() {
            Some((_, first)) => {
                let answer = Answer::Value(first.value, first.load);
                *candidates = hits.iter().map(|(candidate, _)| *candidate).collect();
                answer
            }
            None if matches!(relo.kind, 2 | 7..=10 | 12) => Answer::Value(0, None),
            None => Answer::Poison,
        }
    }

    /// The access in the object's types and where it ends, in bits, with everything that can be wrong there.
    fn understand(&self, relo: &Relo) -> Result<(Vec<Step>, u32), ()> {
        let world = self.local;
        match relo.kind {
            6..=9 | 12 => {
                if relo.access != [0] {
                    return Err(());
                }
                if relo.kind == 9 {
                    size_of(world, 8, relo.root)?;
                }
                return Ok((Vec::new(), 0));
            }
            10 | 11 => {
                let Shape::Enum { values, .. } = world.shape(world.skip(relo.root)) else { return Err(()) };
                let [index] = relo.access[..] else { return Err(()) };
                let name = Some(values.get(index as usize).ok_or(())?.0.clone());
                return Ok((vec![Step { ty: 0, index, name }], 0));
            }
            0..=5 => {}
            _ => return Err(()),
        }
        let mut here = world.skip(relo.root);
        let mut bits = relo.access[0].wrapping_mul(size_of(world, 8, here)?).wrapping_mul(8);
        let mut steps = vec![Step { ty: here, index: relo.access[0], name: None }];
        for &index in &relo.access[1..] {
            here = world.skip(here);
            if let Some(members) = members(world, here) {
                let member = members.get(index as usize).ok_or(())?;
                bits = bits.wrapping_add(member.bits);
                if !member.name.is_empty() {
                    steps.push(Step { ty: here, index, name: Some(member.name.clone()) });
                }
                here = member.ty;
            } else if let &Shape::Array { element, len, .. } = world.shape(here) {
                if index >= len && !flexible(world, steps.last().unwrap(), len) {
                    return Err(());
                }
                here = world.skip(element);
                bits = bits.wrapping_add(index.wrapping_mul(size_of(world, 8, here)?).wrapping_mul(8));
                steps.push(Step { ty: here, index, name: None });
            } else {
                return Err(());
            }
        }
        if relo.kind != 2 {
            self.field_value(world, 8, relo.kind, bits, steps.last().unwrap())?;
        }
        Ok((steps, bits))
    }

    /// The value in the object's own types, which the compiler put into the instruction, and what it would load.
    pub(crate) fn local_value(&self, relo: &Relo) -> Option<(u64, u32, char)> {
        let (steps, bits) = self.understand(relo).ok()?;
        let plain = |value: u64| Some((value, 0, '-'));
        match relo.kind {
            6 | 7 => plain(relo.root as u64),
            9 => plain(size_of(self.local, 8, relo.root).ok()?.into()),
            11 => match self.local.shape(self.local.skip(relo.root)) {
                Shape::Enum { values, .. } => plain(values[relo.access[0] as usize].1 as u64),
                _ => None,
            },
            2 | 8 | 10 | 12 => plain(1),
            _ => self.field_value(self.local, 8, relo.kind, bits, steps.last()?).ok(),
        }
    }

    fn judge(&self, relo: &Relo, steps: &[Step], candidate: usize) -> Verdict {
        let plain = |value| Ok(Some(Hit { bits: 0, value, load: None }));
        match relo.kind {
            12 => match self.matches(relo.root, candidate, false, 32)? {
                true => plain(1),
                false => Ok(None),
            },
            7..=9 => {
                if rank(self.local.shape(relo.root)) != rank(self.target.shape(candidate))
                    || !self.compatible(relo.root, candidate, 32)?
                {
                    return Ok(None);
                }
                match relo.kind {
                    7 => plain(candidate as u64),
                    9 => plain(size_of(self.target, self.target_pointer, candidate)?.into()),
                    _ => plain(1),
                }
            }
            10 | 11 => {
                let Shape::Enum { size, values, .. } = self.target.shape(self.target.skip(candidate)) else {
                    return Ok(None);
                };
                let wanted = essential(steps[0].name.as_ref().unwrap());
                match values.iter().find(|(name, _)| essential(name) == wanted) {
                    None => Ok(None),
                    Some(_) if relo.kind == 10 => plain(1),
                    Some((_, value)) if *size == 8 => plain(*value as u64),
                    Some((_, value)) => plain(i64::from(*value as i32) as u64),
                }
            }
            _ => {
                let Some((bits, last)) = self.land(steps, candidate)? else { return Ok(None) };
                if relo.kind == 2 {
                    return Ok(Some(Hit { bits, value: 1, load: None }));
                }
                let (value, size, class) =
                    self.field_value(self.target, self.target_pointer, relo.kind, bits, &last)?;
                let load = (relo.load && relo.kind == 0).then(|| {
                    let (_, local_size, local_class) = self.local_value(relo).unwrap();
                    (size, size == local_size || (class == local_class && class != '-'))
                });
                Ok(Some(Hit { bits, value, load }))
            }
        }
    }

    /// Where an access ends in a candidate.
    fn land(&self, steps: &[Step], candidate: usize) -> Result<Option<(u32, Step)>, ()> {
        let world = self.target;
        let mut here = candidate;
        let (mut bits, mut depth) = (0u32, 0usize);
        let mut last: Option<Step> = None;
        for step in steps {
            here = world.skip(here);
            if let Some(name) = &step.name {
                let wanted = members(self.local, step.ty).unwrap()[step.index as usize].ty;
                match self.search(name, wanted, here, &mut bits, &mut depth)? {
                    Search::Hit(at, index, ty) => {
                        last = Some(Step { ty: at, index, name: Some(name.clone()) });
                        here = ty;
                    }
                    _ => return Ok(None),
                }
                continue;
            }
            if let Some(previous) = &last {
                let &Shape::Array { element, len, .. } = world.shape(here) else { return Ok(None) };
                if step.index >= len && !flexible(world, previous, len) {
                    return Ok(None);
                }
                here = world.skip(element);
            }
            if depth == 64 {
                return Err(());
            }
            depth += 1;
            last = Some(Step { ty: here, index: step.index, name: None });
            let size = size_of(world, self.target_pointer, here)?;
            if size > i32::MAX as u32 {
                return Err(());
            }
            bits = bits.wrapping_add(step.index.wrapping_mul(size).wrapping_mul(8));
        }
        Ok(last.map(|last| (bits, last)))
    }

    fn search(
        &self,
        name: &str,
        wanted: usize,
        id: usize,
        bits: &mut u32,
        depth: &mut usize,
    ) -> Result<Search, ()> {
        let mut polluted = false;
        let Some(members) = members(self.target, id) else { return Ok(Search::Nothing) };
        for (index, member) in members.iter().enumerate() {
            if *depth == 64 {
                return Err(());
            }
            *bits = bits.wrapping_add(member.bits);
            *depth += 1;
            if member.name.is_empty() {
                match self.search(name, wanted, self.target.skip(member.ty), bits, depth)? {
                    Search::Nothing => {}
                    Search::Polluted => polluted = true,
                    hit => return Ok(hit),
                }
            } else if member.name == name {
                return Ok(match self.field_compatible(wanted, member.ty) {
                    true => Search::Hit(id, index as u32, member.ty),
                    false => Search::Polluted,
                });
            }
            *bits = bits.wrapping_sub(member.bits);
            *depth -= 1;
        }
        Ok(if polluted { Search::Polluted } else { Search::Nothing })
    }

    fn field_compatible(&self, local: usize, target: usize) -> bool {
        let (local, target) = (self.local.skip(local), self.target.skip(target));
        let names = (&self.local.types[local].name, &self.target.types[target].name);
        match (self.local.shape(local), self.target.shape(target)) {
            (Shape::Composite { .. }, Shape::Composite { .. })
            | (Shape::Ptr(_), Shape::Ptr(_))
            | (Shape::Float { .. }, Shape::Float { .. }) => true,
            (Shape::Fwd { .. }, Shape::Fwd { .. }) | (Shape::Enum { .. }, Shape::Enum { .. }) => {
                names.0.is_empty() || names.1.is_empty() || essential(names.0) == essential(names.1)
            }
            (Shape::Int { bit_offset: one, .. }, Shape::Int { bit_offset: other, .. }) => {
                *one == 0 && *other == 0
            }
            (Shape::Array { element: one, .. }, Shape::Array { element: other, .. }) => {
                self.field_compatible(*one, *other)
            }
            _ => false,
        }
    }

    fn compatible(&self, local: usize, target: usize, level: u32) -> Result<bool, ()> {
        let (mut local, mut target) = (local, target);
        for _ in 0..32 {
            (local, target) = (self.local.skip(local), self.target.skip(target));
            let (one, other) = (self.local.shape(local), self.target.shape(target));
            if rank(one) != rank(other) {
                return Ok(false);
            }
            match (one, other) {
                (Shape::Int { bit_offset: one, .. }, Shape::Int { bit_offset: other, .. }) => {
                    return Ok(*one == 0 && *other == 0);
                }
                (Shape::Ptr(one), Shape::Ptr(other)) => (local, target) = (*one, *other),
                (Shape::Array { element: one, .. }, Shape::Array { element: other, .. }) => {
                    (local, target) = (*one, *other);
                }
                (Shape::Proto { result, params }, Shape::Proto { result: other, params: others }) => {
                    if params.len() != others.len() {
                        return Ok(false);
                    }
                    for (one, other) in params.iter().zip(others) {
                        if level == 0 {
                            return Err(());
                        }
                        if !self.compatible(self.local.skip(*one), self.target.skip(*other), level - 1)? {
                            return Ok(false);
                        }
                    }
                    (local, target) = (*result, *other);
                }
                (Shape::Float { .. } | Shape::Other(_), _) => return Ok(false),
                _ => return Ok(true),
            }
        }
        Err(())
    }

    fn matches(&self, local: usize, target: usize, behind: bool, level: u32) -> Result<bool, ()> {
        if level == 0 {
            return Err(());
        }
        let (mut local, mut target, mut behind) = (local, target, behind);
        for _ in 0..32 {
            (local, target) = (self.local.skip(local), self.target.skip(target));
            let (one, other) = (&self.local.types[local], &self.target.types[target]);
            if !same_name(&one.name, &other.name) {
                return Ok(false);
            }
            match (&one.shape, &other.shape) {
                (Shape::Void, Shape::Void) => return Ok(true),
                (Shape::Fwd { union: one }, Shape::Fwd { union: other }) => return Ok(one == other),
                (Shape::Fwd { union: one }, Shape::Composite { union: other, .. })
                | (Shape::Composite { union: one, .. }, Shape::Fwd { union: other }) => {
                    return Ok(behind && one == other);
                }
                (Shape::Composite { union: one, .. }, Shape::Composite { union: other, .. }) if behind => {
                    return Ok(one == other);
                }
                (
                    Shape::Composite { union: one, members, .. },
                    Shape::Composite { union: other, members: others, .. },
                ) => {
                    if one != other || members.len() > others.len() {
                        return Ok(false);
                    }
                    'members: for member in members {
                        for other in others.iter().filter(|other| same_name(&member.name, &other.name)) {
                            if self.matches(member.ty, other.ty, false, level - 1)? {
                                continue 'members;
                            }
                        }
                        return Ok(false);
                    }
                    return Ok(true);
                }
                (Shape::Enum { size, values, .. }, Shape::Enum { size: other, values: others, .. }) => {
                    let found = |name: &String| others.iter().any(|other| same_name(name, &other.0));
                    return Ok(size == other
                        && values.len() <= others.len()
                        && values.iter().all(|(name, _)| found(name)));
                }
                (Shape::Int { size, signed, .. }, Shape::Int { size: other, signed: sign, .. }) => {
                    return Ok(size == other && signed == sign);
                }
                (Shape::Ptr(one), Shape::Ptr(other)) => {
                    behind = true;
                    (local, target) = (*one, *other);
                }
                (Shape::Array { element, len, .. }, Shape::Array { element: other, len: others, .. }) => {
                    if len != others {
                        return Ok(false);
                    }
                    (local, target) = (*element, *other);
                }
                (Shape::Proto { result, params }, Shape::Proto { result: other, params: others }) => {
                    if params.len() != others.len() {
                        return Ok(false);
                    }
                    for (one, other) in params.iter().zip(others) {
                        if !self.matches(*one, *other, behind, level - 1)? {
                            return Ok(false);
                        }
                    }
                    (local, target) = (*result, *other);
                }
                _ => return Ok(false),
            }
        }
        Err(())
    }

    /// Value, size of a load, and whether that may be adjusted: 'p' for pointers, 'u' for unsigned integers, '-' for anything else.
    fn field_value(
        &self,
        world: &World,
        pointer: u32,
        kind: u32,
        bits: u32,
        last: &Step,
    ) -> Result<(u64, u32, char), ()> {
        let class = |id: usize| match world.shape(id) {
            Shape::Ptr(_) => 'p',
            Shape::Int { signed: false, .. } => 'u',
            _ => '-',
        };
        if last.name.is_none() {
            let size = size_of(world, pointer, last.ty)?;
            return match kind {
                0 => Ok((u64::from(bits / 8), size, class(last.ty))),
                1 => Ok((size.into(), 0, '-')),
                _ => Err(()),
            };
        }
        let member = &members(world, last.ty).unwrap()[last.index as usize];
        let ty = world.skip(member.ty);
        let width = u32::from(member.width);
        let (size, offset, load) = if width == 0 {
            let size = size_of(world, pointer, ty)?;
            (size, bits / 8, size)
        } else {
            // The type's own size, doubled while a load of that size at an aligned place does not cover the bits.
            let mut size = match world.shape(ty) {
                Shape::Int { size, .. }
                | Shape::Enum { size, .. }
                | Shape::Composite { size, .. }
                | Shape::Float { size } => *size,
                _ => return Err(()),
            };
            while size > 0 && bits + width > (bits / 8 / size * size + size) * 8 {
                if size >= 8 {
                    return Err(());
                }
                size *= 2;
            }
            (size, (bits / 8).checked_div(size).ok_or(())? * size, 0)
        };
        let width = if width == 0 { size.wrapping_mul(8) } else { width };
        let value = match kind {
            0 => offset,
            1 => size,
            3 => match world.shape(ty) {
                Shape::Int { signed, .. } | Shape::Enum { signed, .. } => u32::from(*signed),
                _ => 0,
            },
            4 if self.endian == Endian::Little => {
                64u32.wrapping_sub(bits.wrapping_add(width).wrapping_sub(offset.wrapping_mul(8)))
            }
            4 => 8u32
                .wrapping_sub(size)
                .wrapping_mul(8)
                .wrapping_add(bits.wrapping_sub(offset.wrapping_mul(8))),
            5 => 64u32.wrapping_sub(width),
            _ => return Err(()),
        };
        let class = if member.width == 0 && kind == 0 { class(ty) } else { '-' };
        Ok((value.into(), if kind == 0 { load } else { 0 }, class))
    }
}

enum Search {
    Nothing,
    /// A member of that name and another kind; its offset stays behind.
    Polluted,
    Hit(usize, u32, usize),
}

/// Whether an access step by name to the last member makes an array of no elements flexible.
fn flexible(world: &World, step: &Step, len: u32) -> bool {
    len == 0
        && step.name.is_some()
        && members(world, step.ty).is_some_and(|members| step.index as usize + 1 == members.len())
}

fn same_name(one: &str, other: &str) -> bool {
    one.is_empty() == other.is_empty() && essential(one) == essential(other)
}
