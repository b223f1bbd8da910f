//! Flavours: `task_struct___new` in an object means the kernel's `task_struct`.

/// The part of a name that counts when an object's type or enumerator is looked up in a kernel: everything before the last `___` that has
/// a character other than `_` on both sides.
///
/// Source: `bpf_core_essential_name_len` of libbpf.
pub fn essential_name(name: &[u8]) -> &[u8] {
    let separator =
        name.windows(5).rposition(|window| window[1..4] == *b"___" && window[0] != b'_' && window[4] != b'_');
    separator.map_or(name, |at| &name[..=at])
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
            ("a___b____", "a"),
            ("", ""),
        ] {
            assert_eq!(essential_name(name.as_bytes()), essential.as_bytes(), "{name}");
        }
    }
}
