//! Gives the shared library its name: the interface's version, which changes only with what programs link against.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libbtfloader.so.0");
}
