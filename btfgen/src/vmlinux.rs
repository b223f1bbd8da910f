//! From one vmlinux to BTF: the embedded `.BTF` section, or DWARF converted.
