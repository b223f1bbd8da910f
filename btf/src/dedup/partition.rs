//! Partition refinement: which nodes of a graph cannot be told apart by where their edges lead.
//!
//! Hopcroft's way: when a class falls apart its largest part keeps the number, so that a node is looked at again no more than
//! logarithmically often. Going over all nodes until nothing changes would take quadratic time on long chains.

use hashbrown::HashMap;

type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The coarsest partition that is finer than `initial` and in which nodes of a class have edges to the same classes, in order. An edge to
/// what is no node leads nowhere else. Classes are numbered by their first node.
pub(crate) fn refine<'t>(initial: &[u32], targets: impl Fn(u32) -> &'t [u32]) -> Vec<u32> {
    let count = initial.len();
    let nodes = 0..count as u32;
    let mut users: Vec<Vec<u32>> = vec![Vec::new(); count];
    for node in nodes.clone() {
        for &target in targets(node) {
            if let Some(users) = users.get_mut(target as usize) {
                users.push(node);
            }
        }
    }
    let mut classes = Classes::new(initial);
    let mut changed: Vec<u32> = nodes.collect();
    while !changed.is_empty() {
        // What is to be looked at by class, and within a class by where its edges lead now.
        let mut parts: FastMap<(u32, Vec<u32>), Vec<u32>> = FastMap::default();
        for &node in &changed {
            let leads = |&target: &u32| classes.of.get(target as usize).copied().unwrap_or(u32::MAX);
            let key = (classes.of[node as usize], targets(node).iter().map(leads).collect());
            parts.entry(key).or_default().push(node);
        }
        let mut by_class: FastMap<u32, Vec<Vec<u32>>> = FastMap::default();
        for ((class, _), part) in parts {
            by_class.entry(class).or_default().push(part);
        }
        let mut moved = Vec::new();
        for (class, parts) in by_class {
            classes.split(class, parts, &mut moved);
        }
        changed.clear();
        changed.extend(moved.iter().flat_map(|&node| &users[node as usize]));
        changed.sort_unstable();
        changed.dedup();
    }
    numbered_by_first(&classes.of)
}

fn numbered_by_first(of: &[u32]) -> Vec<u32> {
    let mut numbers: FastMap<u32, u32> = FastMap::default();
    of.iter()
        .map(|&class| {
            let next = numbers.len() as u32;
            *numbers.entry(class).or_insert(next)
        })
        .collect()
}

struct Classes {
    /// The class of each node.
    of: Vec<u32>,
    members: Vec<Vec<u32>>,
    /// Where each node stands among the members of its class.
    place: Vec<u32>,
}

impl Classes {
    fn new(initial: &[u32]) -> Classes {
        let of = numbered_by_first(initial);
        let mut members: Vec<Vec<u32>> = Vec::new();
        let mut place = Vec::with_capacity(of.len());
        for (node, &class) in of.iter().enumerate() {
            if class as usize == members.len() {
                members.push(Vec::new());
            }
            place.push(members[class as usize].len() as u32);
            members[class as usize].push(node as u32);
        }
        Classes { of, members, place }
    }

    /// Splits some members off a class, as parts that differ from each other and from the members that are not among them. Notes the
    /// nodes whose class has changed.
    fn split(&mut self, class: u32, mut parts: Vec<Vec<u32>>, moved: &mut Vec<u32>) {
        for &node in parts.iter().flatten() {
            let members = &mut self.members[class as usize];
            let place = self.place[node as usize] as usize;
            members.swap_remove(place);
            if let Some(&other) = members.get(place) {
                self.place[other as usize] = place as u32;
            }
        }
        parts.push(std::mem::take(&mut self.members[class as usize]));
        let largest = (0..parts.len()).max_by_key(|&part| parts[part].len()).unwrap_or(0);
        self.settle(class, parts.swap_remove(largest));
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let new = self.members.len() as u32;
            moved.extend_from_slice(&part);
            self.members.push(Vec::new());
            self.settle(new, part);
        }
    }

    fn settle(&mut self, class: u32, part: Vec<u32>) {
        for (place, &node) in part.iter().enumerate() {
            self.of[node as usize] = class;
            self.place[node as usize] = place as u32;
        }
        self.members[class as usize] = part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Going over all nodes until nothing changes.
    fn slowly(initial: &[u32], targets: &[Vec<u32>]) -> Vec<u32> {
        let mut class = numbered_by_first(initial);
        loop {
            let mut numbers: FastMap<Vec<u32>, u32> = FastMap::default();
            let before = class.iter().max().map_or(0, |max| max + 1);
            let next = (0..class.len()).map(|node| {
                let leads = |&target: &u32| class.get(target as usize).copied().unwrap_or(u32::MAX);
                let key = [class[node]].into_iter().chain(targets[node].iter().map(leads)).collect();
                let next = numbers.len() as u32;
                *numbers.entry(key).or_insert(next)
            });
            class = next.collect();
            if numbers.len() as u32 == before {
                return class;
            }
        }
    }

    /// Check random graphs against the simple way.
    #[test]
    fn as_the_simple_way() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: u32| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % u64::from(below)) as u32
        };
        for _ in 0..3000 {
            let count = 1 + next(24);
            let initial: Vec<u32> = (0..count).map(|_| next(3)).collect();
            let targets: Vec<Vec<u32>> = (0..count)
                .map(|_| {
                    let edges = 0..next(3);
                    edges.map(|_| if next(9) == 0 { u32::MAX } else { next(count) }).collect()
                })
                .collect();
            assert_eq!(
                refine(&initial, |node| &targets[node as usize]),
                slowly(&initial, &targets),
                "{initial:?} {targets:?}"
            );
        }
    }

    /// Check two chains of a million nodes that differ at their ends: the simple way would look at 10^12 nodes.
    #[test]
    fn long_chains() {
        let len = 500_000;
        let initial: Vec<u32> = (0..len - 1).chain([len]).chain(0..len - 1).chain([len + 1]).collect();
        let targets: Vec<Vec<u32>> = (0..2 * len)
            .map(|node| if node % len == len - 1 { Vec::new() } else { vec![node + 1] })
            .collect();
        let class = refine(&initial, |node| &targets[node as usize]);
        assert!((0..2 * len).eq(class));
    }
}
