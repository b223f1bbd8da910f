//! Flavours: `task_struct___new` in an object means the kernel's `task_struct`.

/// The part of a name that counts when an object's type or enumerator is looked up in a kernel: everything before the last `___` that has
/// a character other than `_` on both sides.
///
/// Source: `bpf_core_essential_name_len` of libbpf.
pub fn essential_name(name: &[u8]) -> &[u8] {
    let is_separator = |at: usize| {
        name.get(at - 1..at + 4)
            .is_some_and(|around| around[1..4] == *b"___" && around[0] != b'_' && around[4] != b'_')
    };
    // Three underscores in a row cover one place of every three, so that looking at those is enough to find them (names are short, kernels have many).
    let mut last = None;
    for third in (3..name.len()).step_by(3) {
        if name[third] == b'_' {
            last = (third - 2..=third).rev().find(|&at| is_separator(at)).or(last);
        }
    }
    last.map_or(name, |at| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that only the last separator between two other characters starts a flavour.
    #[test]
    fn flavours() {
        for (name, essential) in [
            ("task_struct", "task_struct"),
            ("task_struct___new", "task_struct"),
            ("a___b___c", "a___b"),
            ("a____b", "a____b"),
            ("a___", "a___"),
            ("___b", "___b"),
            ("a___b", "a"),
            ("ab___c", "ab"),
            ("abc___d", "abc"),
            ("a___b___", "a"),
            ("a___b____", "a"),
            ("", ""),
        ] {
            assert_eq!(essential_name(name.as_bytes()), essential.as_bytes(), "{name}");
        }
    }
}
