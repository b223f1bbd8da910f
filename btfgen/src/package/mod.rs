//! One package, streamed: find vmlinux in it and keep it in memory, nothing on disk.
