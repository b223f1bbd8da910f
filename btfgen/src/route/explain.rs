//! What was considered on the way to a kernel's BTF, and what it cost: for `--explain`, logs and benchmarks.

use std::fmt;

use serde::Serialize;

/// A way to something of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The bootable kernel, streamed until it is complete.
    Image,
    /// The debug package, streamed until vmlinux is complete.
    DebugStreamed,
    /// A package of which nothing is known, streamed until the kernel in it is complete.
    Streamed,
    /// The debug package, of which only the blocks that hold what is wanted are fetched.
    DebugInParts,
    /// The section `.BTF` by itself, from a debuginfod server.
    Section,
    /// vmlinux by itself, from a debuginfod server.
    Vmlinux,
    /// The kernel's configuration alone.
    Config,
    /// Modules of an image or modules package, which have BTF themselves.
    Modules,
    /// Modules' debug information.
    ModulesDebug,
}

impl Way {
    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::DebugStreamed => "debug-streamed",
            Self::Streamed => "streamed",
            Self::DebugInParts => "debug-in-parts",
            Self::Section => "section",
            Self::Vmlinux => "vmlinux",
            Self::Config => "config",
            Self::Modules => "modules",
            Self::ModulesDebug => "modules-debug",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Image => "image",
            Self::DebugStreamed => "debug package, streamed",
            Self::Streamed => "package, streamed",
            Self::DebugInParts => "debug package, in parts",
            Self::Section => "section .BTF",
            Self::Vmlinux => "vmlinux",
            Self::Config => "configuration",
            Self::Modules => "modules",
            Self::ModulesDebug => "modules' debug information",
        })
    }
}

/// One way that was considered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which.
    pub way: Way,
    /// The package, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Whether it gave what was wanted.
    pub taken: bool,
    /// Why it was taken or not, or what it gave.
    pub reason: String,
    /// Length of the package in bytes, where it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_bytes: Option<u64>,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Requests made.
    pub requests: u64,
}

/// All ways that were considered, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The ways.
    pub steps: Vec<Step>,
}

impl Explanation {
    /// Bytes that arrived, on all ways.
    pub fn bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.bytes).sum()
    }

    /// Requests made, on all ways.
    pub fn requests(&self) -> u64 {
        self.steps.iter().map(|step| step.requests).sum()
    }
}

impl fmt::Display for Explanation {
    /// A line for each way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { way, package, taken, reason, package_bytes, bytes, requests } in &self.steps {
            write!(f, "{} {way}", if *taken { "+" } else { "-" })?;
            if let Some(package) = package {
                write!(f, " ({package})")?;
            }
            write!(f, ": {reason}")?;
            if *requests > 0 {
                write!(f, "; {:.2} MB", *bytes as f64 / 1e6)?;
                if let Some(length) = package_bytes {
                    write!(f, " of {:.2}", *length as f64 / 1e6)?;
                }
                write!(f, " in {requests} request{}", if *requests == 1 { "" } else { "s" })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
