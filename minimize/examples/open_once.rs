//! One kernel opened once, and minimised for each of several objects: `open_once KERNEL.btf OBJECT…` prints how long each one takes.

use std::hint::black_box;
use std::time::Instant;

use btf_minimize::{Kernel, Object, minimize};

/// How often each one is done; the fastest counts.
const RUNS: u32 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args_os().skip(1);
    let kernel = std::fs::read(paths.next().ok_or("usage: open_once KERNEL.btf OBJECT…")?)?;
    let kernel = Kernel::open(&kernel)?;
    for path in paths {
        let file = std::fs::read(&path)?;
        let object = Object::parse(&file)?;
        let mut best = f64::MAX;
        let mut bytes = 0;
        for _ in 0..RUNS {
            let start = Instant::now();
            let minimized = minimize(black_box(&kernel), std::slice::from_ref(&object))?;
            best = best.min(start.elapsed().as_secs_f64());
            bytes = minimized.btf.len();
        }
        println!("{}: {bytes} bytes, {:.1} microseconds", path.display(), best * 1e6);
    }
    Ok(())
}
