//! How a relocation is told, to people and to machines.

use std::fmt;
use std::path::Path;

use btf_minimize::{Object, Reason, Relocation, Resolution};
use serde::Serialize;

/// A relocation, as JSON has it.
#[derive(Serialize)]
pub(crate) struct Told {
    /// ELF section of the instruction.
    pub(crate) section: String,
    /// Number of the instruction in its section.
    pub(crate) instruction: u32,
    /// The function it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) function: Option<String>,
    /// Source file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// What is asked for, as libbpf names it; the number if it is unknown.
    pub(crate) kind: String,
    /// The type and the way into it, as C would say it.
    #[serde(rename = "type")]
    pub(crate) what: String,
    /// The access string.
    pub(crate) access: String,
    #[serde(flatten)]
    pub(crate) answer: Option<Answer>,
}

/// What becomes of a relocation on a kernel.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The value that the instruction gets; negative enumerators as 64-bit two's complement.
    Value(u64),
    /// The kernel lacks what is asked for, and the instruction is replaced by an invalid one.
    Poisoned(bool),
    /// Why it cannot be resolved.
    Error(String),
}

impl Told {
    pub(crate) fn new(
        object: &Object<'_>,
        relocation: &Relocation<'_>,
        answer: Option<&Result<Resolution, Reason>>,
    ) -> Told {
        let kind = relocation.kind();
        Told {
            section: relocation.section.to_string(),
            instruction: relocation.instruction(),
            function: object.function(relocation).map(ToString::to_string),
            source: object.source_line(relocation).map(|(file, line)| format!("{file}:{line}")),
            kind: kind.map_or_else(|| relocation.kind_number.to_string(), |kind| kind.to_string()),
            what: object.describe(relocation),
            access: relocation.access.to_string(),
            answer: answer.map(Answer::new),
        }
    }

    /// The end of the source path and the line, for people.
    pub(crate) fn short_source(&self) -> &str {
        self.source.as_deref().map_or("", |source| source.rsplit('/').next().unwrap_or(source))
    }
}

impl Answer {
    fn new(answer: &Result<Resolution, Reason>) -> Answer {
        match answer {
            Ok(Resolution::Value { value, .. }) => Answer::Value(*value),
            Ok(Resolution::Poisoned) => Answer::Poisoned(true),
            Err(reason) => Answer::Error(reason.to_string()),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Value(value) => f.pad(&value.to_string()),
            Answer::Poisoned(_) => f.pad("poisoned"),
            Answer::Error(reason) => write!(f, "error: {reason}"),
        }
    }
}

/// Where a relocation is and what it asks for, in one line for an error message.
pub(crate) fn locate(path: &Path, told: &Told) -> String {
    let Told { section, instruction, kind, what, access, .. } = told;
    let function = told.function.as_ref().map_or_else(String::new, |function| format!(" of {function}"));
    let source = match told.short_source() {
        "" => String::new(),
        source => format!(" ({source})"),
    };
    format!(
        "{}: section {section}, instruction {instruction}{function}{source}: {kind} of {what}, access {access}",
        path.display()
    )
}

/// A number of things.
pub(crate) fn plural(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
