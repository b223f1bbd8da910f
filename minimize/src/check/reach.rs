//! Which instructions of a program the verifier can reach, once relocations have put their values in.
//!
//! A program that asks whether a field exists before it uses it is loaded where the field does not exist: the answer 0 is a constant, the verifier follows only
//! the branch that it takes, and never meets the poisoned instruction. So this walks a program as the verifier does, as far as constants go:
//! registers and spilled registers hold a known number or something unknown, arithmetic on known numbers is done, a branch on known numbers
//! goes one way, every other both. Paths are told apart by what they know, and a state that knows no more than an earlier one at the same place is not
//! walked again. Where paths would multiply without end, what they know is forgotten: then more is reachable than in truth, never less.

use hashbrown::{HashMap, HashSet};

use super::code::{Code, Function, Instruction, Link, Place};

/// What a relocation makes of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patch {
    /// Its number is this.
    Value(u64),
    /// Its number is not known yet.
    Unknown,
    /// The verifier refuses it.
    Poison,
}

/// The patches of an object on a kernel.
pub(crate) type Patches = HashMap<Place, Patch, foldhash::fast::FixedState>;

/// States kept for one instruction; beyond that, they are merged into one that knows nothing.
const MAX_STATES: usize = 32;
/// Instructions walked for one program; beyond that, nothing is known any more, and every instruction is walked once.
const MAX_STEPS: usize = 1 << 20;
/// How deep functions call each other (`MAX_CALL_FRAMES` of the kernel).
const MAX_CALLS: usize = 8;

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// Every instruction that can be reached.
    pub(crate) places: HashSet<Place, foldhash::fast::FixedState>,
    /// Poisoned instructions that can be reached, in order.
    pub(crate) poisoned: Vec<Place>,
}

/// Walks a program.
pub(crate) fn walk(code: &Code<'_>, patches: &Patches, program: &Function<'_>) -> Reached {
    let mut walk = Walk {
        code,
        patches,
        reached: Reached::default(),
        steps: MAX_STEPS,
        returns: HashMap::default(),
        calls: Vec::new(),
    };
    walk.function(program.start, [None; 5]);
    let mut reached = walk.reached;
    reached.poisoned.sort_unstable();
    reached.poisoned.dedup();
    reached
}

/// What is known: registers 0 to 9, and 8-byte slots of the stack by their offset from register 10.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct State {
    registers: [Option<u64>; 10],
    /// In the order of offsets.
    slots: Vec<(i16, u64)>,
    /// Whether another register may hold an address on the stack.
    escaped: bool,
}

impl State {
    fn get(&self, register: u8) -> Option<u64> {
        self.registers.get(usize::from(register)).copied().flatten()
    }

    fn set(&mut self, register: u8, value: Option<u64>) {
        if let Some(known) = self.registers.get_mut(usize::from(register)) {
            *known = value;
        }
    }

    /// Whether whatever can happen from `self` can happen from `other`, which knows no more.
    fn is_within(&self, other: &State) -> bool {
        let registers = self.registers.iter().zip(&other.registers);
        let mut slots = other.slots.iter();
        (other.escaped || !self.escaped)
            && registers.into_iter().all(|(mine, theirs)| theirs.is_none() || mine == theirs)
            && slots.all(|slot| self.slots.contains(slot))
    }

    /// What is left where too much is known.
    fn nothing() -> State {
        State { escaped: true, ..State::default() }
    }

    fn forget_stores(&mut self, from: i16, len: i16) {
        self.slots.retain(|&(at, _)| at.saturating_add(8) <= from || at >= from.saturating_add(len));
    }
}

struct Walk<'w, 'a> {
    code: &'w Code<'a>,
    patches: &'w Patches,
    reached: Reached,
    steps: usize,
    /// What functions return, for the arguments they were walked with.
    returns: HashMap<(Place, [Option<u64>; 5]), Option<u64>, foldhash::fast::FixedState>,
    /// The functions being walked.
    calls: Vec<Place>,
}

impl Walk<'_, '_> {
    /// Walks a function; gives what it returns, if that is always the same number.
    fn function(&mut self, start: Place, mut arguments: [Option<u64>; 5]) -> Option<u64> {
        if self.steps == 0 {
            arguments = [None; 5];
        }
        if let Some(&known) = self.returns.get(&(start, arguments)) {
            return known;
        }
        if self.calls.len() >= MAX_CALLS || self.calls.contains(&start) {
            return None; // the verifier refuses it, for another reason
        }
        self.calls.push(start);
        // Where a loop of calls comes back here.
        self.returns.insert((start, arguments), None);
        let mut first = State::default();
        first.registers[1..6].copy_from_slice(&arguments);
        let mut seen: HashMap<u32, Vec<State>, foldhash::fast::FixedState> = HashMap::default();
        let mut ahead = vec![(start.instruction, first)];
        let mut result: Option<Option<u64>> = None;
        while let Some((at, state)) = ahead.pop() {
            let place = Place { section: start.section, instruction: at };
            let Some(&instruction) = self.code.section(place).instructions.get(at as usize) else { continue };
            let states = seen.entry(at).or_default();
            if states.iter().any(|known| state.is_within(known)) {
                continue;
            }
            self.steps = self.steps.saturating_sub(1);
            let state = if states.len() >= MAX_STATES || self.steps == 0 { State::nothing() } else { state };
            states.push(state.clone());
            self.reached.places.insert(place);
            let patch = self.patches.get(&place).copied();
            if patch == Some(Patch::Poison) {
                self.reached.poisoned.push(place);
                continue;
            }
            if instruction.opcode == EXIT {
                let value = state.get(0);
                result = Some(match result {
                    None => value,
                    Some(known) if known == value => known,
                    Some(_) => None,
                });
                continue;
            }
            self.step(place, instruction, patch, state, &mut ahead);
        }
        self.calls.pop();
        let result = result.flatten();
        self.returns.insert((start, arguments), result);
        result
    }

    /// What comes after an instruction.
    fn step(
        &mut self,
        place: Place,
        instruction: Instruction,
        patch: Option<Patch>,
        mut state: State,
        ahead: &mut Vec<(u32, State)>,
    ) {
        let at = place.instruction;
        let next = at + 1;
        let imm = match patch {
            Some(Patch::Value(value)) => value as i32,
            _ => instruction.imm,
        };
        match instruction.class() {
            LD if instruction.is_wide() => {
                let section = self.code.section(place);
                let high = section.instructions.get(next as usize).map_or(0, |second| second.imm);
                let linked = section.links.get(&at);
                let value = match patch {
                    Some(Patch::Value(value)) => Some(value),
                    Some(_) => None,
                    // A map, a variable, a function: an address.
                    _ if instruction.src != 0 || linked.is_some() => None,
                    _ => Some(u64::from(imm as u32) | u64::from(high as u32) << 32),
                };
                if let Some(Link::Function(callback)) = linked {
                    self.function(*callback, [None; 5]);
                }
                state.set(instruction.dst, value);
                ahead.push((at + 2, state));
            }
            LD => {
                state.set(0, None); // packet access
                (1..6).for_each(|register| state.set(register, None));
                ahead.push((next, state));
            }
            LDX => {
                let whole = instruction.opcode == LDX_MEM_DW;
                let slot = state.slots.iter().find(|slot| slot.0 == instruction.offset).map(|slot| slot.1);
                let spilled = slot.filter(|_| whole && instruction.src == FRAME && patch.is_none());
                state.set(instruction.dst, spilled);
                ahead.push((next, state));
            }
            ST | STX => {
                self.store(instruction, patch, &mut state);
                ahead.push((next, state));
            }
            ALU | ALU64 => {
                let wide = instruction.class() == ALU64;
                let source = match (instruction.opcode & SOURCE_REGISTER, patch) {
                    (0, Some(Patch::Unknown)) => None,
                    (0, _) => Some(i64::from(imm) as u64),
                    _ => state.get(instruction.src),
                };
                let value = arithmetic(instruction, state.get(instruction.dst), source, wide);
                state.escaped |= instruction.opcode & SOURCE_REGISTER != 0 && instruction.src == FRAME;
                state.set(instruction.dst, value);
                ahead.push((next, state));
            }
            _ if instruction.is_call() => {
                self.call(place, instruction, &mut state);
                ahead.push((next, state));
            }
            class => self.jump(class, place, instruction, imm, state, ahead),
        }
    }

    fn store(&self, instruction: Instruction, patch: Option<Patch>, state: &mut State) {
        let mode = instruction.opcode & 0xe0;
        let atomic = instruction.class() == STX && mode == MODE_ATOMIC;
        if atomic {
            // It may fetch into its source, or compare with register 0.
            state.set(instruction.src, None);
            state.set(0, None);
        }
        if instruction.dst != FRAME {
            if state.escaped {
                state.slots.clear();
            }
            return;
        }
        if patch.is_some() || atomic {
            state.slots.clear();
            return;
        }
        let len = match instruction.opcode & 0x18 {
            0x18 => 8,
            0x00 => 4,
            0x08 => 2,
            _ => 1,
        };
        state.forget_stores(instruction.offset, len);
        let value = if instruction.class() == ST {
            Some(i64::from(instruction.imm) as u64)
        } else {
            state.get(instruction.src)
        };
        if let Some(value) = value.filter(|_| len == 8) {
            let position = state.slots.partition_point(|slot| slot.0 < instruction.offset);
            state.slots.insert(position, (instruction.offset, value));
        }
    }

    fn call(&mut self, place: Place, instruction: Instruction, state: &mut State) {
        let link = self.code.section(place).links.get(&place.instruction);
        let callee = match link {
            Some(Link::Function(callee)) => Some(*callee),
            None if instruction.src == PSEUDO_CALL => {
                let at = i64::from(place.instruction) + 1 + i64::from(instruction.imm);
                u32::try_from(at).ok().map(|instruction| Place { instruction, ..place })
            }
            _ => None,
        };
        let result = callee.and_then(|callee| {
            let global = self.code.function_at(callee).is_some_and(|function| function.global);
            let arguments =
                if global { [None; 5] } else { std::array::from_fn(|index| state.get(index as u8 + 1)) };
            self.function(callee, arguments).filter(|_| !global)
        });
        // Whatever is called may write to the stack through a pointer.
        state.slots.clear();
        state.set(0, result);
        (1..6).for_each(|register| state.set(register, None));
    }

    fn jump(
        &mut self,
        class: u8,
        place: Place,
        instruction: Instruction,
        imm: i32,
        mut state: State,
        ahead: &mut Vec<(u32, State)>,
    ) {
        let at = i64::from(place.instruction);
        let to = |distance: i64| u32::try_from(at + 1 + distance).ok();
        let operation = instruction.opcode & 0xf0;
        if operation == JA {
            // In 32 bits, the distance is in the number.
            let distance = if class == JMP32 { i64::from(imm) } else { i64::from(instruction.offset) };
            ahead.extend(to(distance).map(|to| (to, state)));
            return;
        }
        let (taken, next) = (to(instruction.offset.into()), place.instruction + 1);
        let from_register = instruction.opcode & SOURCE_REGISTER != 0;
        let right = if from_register { state.get(instruction.src) } else { Some(i64::from(imm) as u64) };
        let answer = match (state.get(instruction.dst), right) {
            (Some(left), Some(right)) => compare(operation, left, right, class == JMP32),
            _ => None,
        };
        if answer != Some(true) {
            let mut other = state.clone();
            if operation == JNE && class == JMP && answer.is_none() {
                other.set(instruction.dst, right.or(other.get(instruction.dst)));
            }
            ahead.push((next, other));
        }
        if answer != Some(false) {
            if operation == JEQ && class == JMP && answer.is_none() {
                state.set(instruction.dst, right.or(state.get(instruction.dst)));
            }
            ahead.extend(taken.map(|to| (to, state)));
        }
    }
}

const LD: u8 = 0;
const LDX: u8 = 1;
const ST: u8 = 2;
const STX: u8 = 3;
const ALU: u8 = 4;
const JMP: u8 = 5;
const JMP32: u8 = 6;
const ALU64: u8 = 7;
const EXIT: u8 = 0x95;
const LDX_MEM_DW: u8 = 0x79;
const MODE_ATOMIC: u8 = 0xc0;
const SOURCE_REGISTER: u8 = 8;
const FRAME: u8 = 10;
const PSEUDO_CALL: u8 = 1;
const JA: u8 = 0x00;
const JEQ: u8 = 0x10;
const JNE: u8 = 0x50;

/// What an arithmetic instruction gives; `None` where it is not known, or not worked out here.
fn arithmetic(instruction: Instruction, left: Option<u64>, right: Option<u64>, wide: bool) -> Option<u64> {
    let cut = |value: u64| if wide { value } else { u64::from(value as u32) };
    let operation = instruction.opcode & 0xf0;
    if operation == 0x80 {
        return left.map(|left| cut(left.wrapping_neg()));
    }
    let right = cut(right?);
    if operation == 0xb0 {
        // With an offset, the move extends a sign.
        return match instruction.offset {
            0 => Some(right),
            8 => Some(cut(right as i8 as u64)),
            16 => Some(cut(right as i16 as u64)),
            32 => Some(cut(right as i32 as u64)),
            _ => None,
        };
    }
    // Whatever is known of the left side, this is known.
    if matches!((operation, right), (0x50 | 0x20, 0)) {
        return Some(0);
    }
    let left = cut(left?);
    let shift = (right & if wide { 63 } else { 31 }) as u32;
    let signed = instruction.offset != 0;
    let value = match operation {
        0x00 => left.wrapping_add(right),
        0x10 => left.wrapping_sub(right),
        0x20 => left.wrapping_mul(right),
        0x30 if !signed => left.checked_div(right).unwrap_or(0),
        0x40 => left | right,
        0x50 => left & right,
        0x60 => left << shift,
        0x70 => left >> shift,
        0x90 if !signed => left.checked_rem(right).unwrap_or(left),
        0xa0 => left ^ right,
        0xc0 if wide => ((left as i64) >> shift) as u64,
        0xc0 => ((left as i32) >> shift) as u64,
        _ => return None, // byte order, signed division
    };
    Some(cut(value))
}

/// Whether a conditional jump is taken; `None` for conditions that are not known here.
fn compare(operation: u8, left: u64, right: u64, narrow: bool) -> Option<bool> {
    let (left, right) =
        if narrow { (u64::from(left as u32), u64::from(right as u32)) } else { (left, right) };
    let signed =
        if narrow { (i64::from(left as i32), i64::from(right as i32)) } else { (left as i64, right as i64) };
    Some(match operation {
        JEQ => left == right,
        0x20 => left > right,
        0x30 => left >= right,
        0x40 => left & right != 0,
        JNE => left != right,
        0x60 => signed.0 > signed.1,
        0x70 => signed.0 >= signed.1,
        0xa0 => left < right,
        0xb0 => left <= right,
        0xc0 => signed.0 < signed.1,
        0xd0 => signed.0 <= signed.1,
        _ => return None,
    })
}
