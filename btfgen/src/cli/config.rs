//! The configuration of `sync` and `work`: a TOML file whose keys are their long options.
//!
//! There is one list of options, clap's. What the file sets and neither the command line nor the environment does is put before the
//! arguments that were given, so that a value means the same wherever it is written; each is first tried alone, so that what is wrong with it is
//! told with file and line.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use btfgen::distro::Problem;
use clap::parser::ValueSource;
use clap::{ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Read where `--config` and `BTFGEN_CONFIG` name no other, if it is there.
const DEFAULT: &str = "/etc/btf-archive/btfgen.toml";
/// The largest file read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// The commands that have a configuration.
const COMMANDS: [&str; 2] = ["sync", "work"];
/// The option that may be a table: of distributions and suites.
const TABLE: &str = "require-trust";
/// Options that make no sense in a file.
const NOT_HERE: [&str; 3] = ["config", "help", "version"];

/// Check a configuration file of `sync` and `work`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Say what is wrong in a configuration file, each thing with its line, and what it sets. Nothing is fetched.
    Check {
        /// The file
        #[arg(value_name = "FILE", default_value = DEFAULT, env = "BTFGEN_CONFIG")]
        file: PathBuf,
    },
}

/// Which file, as an option of `sync` and `work`.
#[derive(clap::Args)]
pub(crate) struct ConfigArgs {
    /// TOML file with settings: the names of long options. What is given here or in the environment counts more [default: /etc/btf-archive/btfgen.toml, if it is
    /// there]
    #[arg(long, value_name = "FILE", env = "BTFGEN_CONFIG")]
    #[allow(dead_code, reason = "read before the options are")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: Args, command: &Command) -> anyhow::Result<ExitCode> {
    let What::Check { file } = args.what;
    let settings = match read(&file)?.settings(command) {
        Ok(settings) => settings,
        Err(problems) => return Ok(refuse(&problems)),
    };
    let lines: Vec<String> = settings
        .iter()
        .flat_map(|setting| {
            let of = setting.command.map(|command| format!("{command} ")).unwrap_or_default();
            let shown =
                |value: &String| if setting.key == "catalog" { "…".to_owned() } else { value.clone() };
            let arguments = setting.arguments(shown);
            arguments.into_iter().map(move |argument| format!("{of}{argument}\n"))
        })
        .collect();
    super::repository::print(&format!("{}{} is in order\n", lines.concat(), file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The arguments with which the program goes on: those that it was given, and what the configuration adds to them.
///
/// # Errors
/// The exit code, where the configuration cannot be used; why has been said.
pub(crate) fn arguments(
    command: &Command,
    given: Vec<OsString>,
) -> anyhow::Result<Result<Vec<OsString>, ExitCode>> {
    let name = given
        .get(1)
        .and_then(|name| name.to_str())
        .and_then(|name| COMMANDS.into_iter().find(|known| *known == name));
    let Some(name) = name else { return Ok(Ok(given)) };
    let Ok(matches) = lenient(command).try_get_matches_from(&given) else {
        // Told in full where the arguments are parsed in earnest.
        return Ok(Ok(given));
    };
    let Some((_, of_command)) = matches.subcommand() else { return Ok(Ok(given)) };
    let path = match of_command.get_one::<PathBuf>("config") {
        Some(path) => path.clone(),
        None if Path::new(DEFAULT).exists() => PathBuf::from(DEFAULT),
        None => return Ok(Ok(given)),
    };
    let settings = match read(&path)?.settings(command) {
        Ok(settings) => settings,
        Err(problems) => return Ok(Err(refuse(&problems))),
    };
    let mut arguments = given[..2].to_vec();
    for setting in &settings {
        let ours = setting.command.is_none_or(|of| of == name) && has(command, name, &setting.key);
        // A setting of one command takes the place of one of all.
        let replaced = setting.command.is_none()
            && settings.iter().any(|other| other.command == Some(name) && other.key == setting.key);
        let source = of_command
            .try_contains_id(&setting.id())
            .ok()
            .and_then(|_| of_command.value_source(&setting.id()));
        let overruled = matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable));
        if ours && !replaced && !overruled {
            arguments.extend(setting.arguments(String::clone).into_iter().map(OsString::from));
        }
    }
    arguments.extend_from_slice(&given[2..]);
    Ok(Ok(arguments))
}

/// Says what is wrong. As with a wrong command line, the exit code is 2.
fn refuse(problems: &[Problem]) -> ExitCode {
    problems.iter().for_each(|problem| eprintln!("btfgen: {problem}"));
    ExitCode::from(2)
}

/// A configuration file.
struct File {
    path: PathBuf,
    text: String,
}

/// What a file sets: an option, for one command or for all that have it.
#[derive(Debug)]
struct Setting {
    command: Option<&'static str>,
    key: String,
    /// None for an option without a value.
    values: Option<Vec<String>>,
    span: Range<usize>,
}

impl Setting {
    /// The name under which clap has the option.
    fn id(&self) -> String {
        self.key.replace('-', "_")
    }

    fn arguments(&self, shown: impl Fn(&String) -> String) -> Vec<String> {
        match &self.values {
            None => vec![format!("--{}", self.key)],
            Some(values) => values.iter().map(|value| format!("--{}={}", self.key, shown(value))).collect(),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<File> {
    let fail = || format!("configuration {}", path.display());
    let size = std::fs::metadata(path).with_context(fail)?.len();
    anyhow::ensure!(size <= FILE_LIMIT, "{}: {size} bytes are more than any configuration has", fail());
    Ok(File { path: path.to_owned(), text: std::fs::read_to_string(path).with_context(fail)? })
}

impl File {
    fn problem(&self, at: usize, message: impl Into<String>) -> Problem {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Problem { file: self.path.clone(), line: Some(line), message: message.into() }
    }

    /// Everything that it sets, each tried; or everything that is wrong with it.
    fn settings(&self, command: &Command) -> Result<Vec<Setting>, Vec<Problem>> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            vec![self.problem(error.span().map_or(0, |span| span.start), error.message())]
        })?;
        let (mut settings, mut problems) = (Vec::new(), Vec::new());
        for (key, value) in table.get_ref() {
            let of_command = COMMANDS.into_iter().find(|name| *name == key.get_ref().as_ref());
            match (of_command, value.get_ref()) {
                (Some(of), DeValue::Table(table)) => {
                    for (key, value) in table {
                        self.take(command, Some(of), key, value, &mut settings, &mut problems);
                    }
                }
                _ => self.take(command, None, key, value, &mut settings, &mut problems),
            }
        }
        settings.sort_by_key(|setting: &Setting| setting.span.start);
        problems.sort_by_key(|problem| problem.line);
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    fn take(
        &self,
        command: &Command,
        of: Option<&'static str>,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        settings: &mut Vec<Setting>,
        problems: &mut Vec<Problem>,
    ) {
        let name = key.get_ref().as_ref();
        let mut commands = COMMANDS.into_iter().filter(|known| of.is_none_or(|of| of == *known));
        let Some(known_by) = commands.clone().find(|known| has(command, known, name)) else {
            let known = commands.flat_map(|of| options(command, of)).collect::<Vec<_>>();
            let near = known.iter().map(|known| (strsim::jaro_winkler(name, known), known));
            let near =
                near.filter(|(likeness, _)| *likeness > 0.7).max_by(|left, right| left.0.total_cmp(&right.0));
            let near = near.map(|(_, near)| format!("; did you mean `{near}`?")).unwrap_or_default();
            let whose = of.map_or_else(|| "sync and work have".to_owned(), |of| format!("{of} has"));
            problems.push(self.problem(key.span().start, format!("{whose} no option `{name}`{near}")));
            return;
        };
        let takes_value = command
            .find_subcommand(known_by)
            .into_iter()
            .flat_map(Command::get_arguments)
            .any(|arg| arg.get_long() == Some(name) && !matches!(arg.get_action(), ArgAction::SetTrue));
        let found = match value.get_ref() {
            DeValue::Table(table) if name == TABLE => rules(table),
            other => values(other, takes_value),
        };
        let values = match (found, value.get_ref()) {
            (_, DeValue::Boolean(true)) if !takes_value => None,
            (_, DeValue::Boolean(false)) if !takes_value => return,
            (Some(values), _) => Some(values),
            (None, found) => {
                let wanted = if takes_value { "text, a number or a list of them" } else { "true or false" };
                let message = format!("{name}: {wanted} is needed, not {}", found.type_str());
                problems.push(self.problem(value.span().start, message));
                return;
            }
        };
        let setting = Setting { command: of, key: name.to_owned(), values, span: key.span() };
        // With every command that has it: they may differ in what they accept.
        let refused = commands.find_map(|known| {
            let arguments = [String::from("btfgen"), known.to_owned()].into_iter();
            let arguments = arguments.chain(setting.arguments(String::clone));
            let known = has(command, known, name);
            known.then(|| lenient(command).try_get_matches_from(arguments).err()).flatten()
        });
        match refused {
            Some(error) => {
                problems.push(self.problem(value.span().start, format!("{name}: {}", reason(&error))));
            }
            None => settings.push(setting),
        }
    }
}

/// A value as arguments.
fn values(value: &DeValue<'_>, takes_value: bool) -> Option<Vec<String>> {
    if !takes_value {
        return None;
    }
    match value {
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Integer(number) if number.radix() == 10 => Some(vec![number.as_str().to_owned()]),
        DeValue::Array(array) => array
            .iter()
            .map(|one| values(one.get_ref(), true).filter(|one| one.len() == 1))
            .try_fold(Vec::new(), |mut all, one| {
                all.extend(one?);
                Some(all)
            }),
        _ => None,
    }
}

/// `[require-trust]`: of whom, and what.
fn rules(table: &DeTable<'_>) -> Option<Vec<String>> {
    let rules = table.iter().map(|(of, value)| {
        let (of, value) = (of.get_ref(), value.get_ref().as_str()?);
        Some(if of == "default" { value.to_owned() } else { format!("{of}={value}") })
    });
    rules.collect()
}

/// The command line without what it must have, so that single options can be tried.
fn lenient(command: &Command) -> Command {
    COMMANDS.into_iter().fold(command.clone(), |command, name| {
        command.mut_subcommand(name, |of| of.mut_args(|arg| arg.required(false)))
    })
}

fn options<'c>(command: &'c Command, of: &str) -> impl Iterator<Item = &'c str> {
    let arguments = command.find_subcommand(of).into_iter().flat_map(Command::get_arguments);
    arguments.filter_map(|arg| arg.get_long()).filter(|long| !NOT_HERE.contains(long))
}

fn has(command: &Command, of: &str, option: &str) -> bool {
    options(command, of).any(|long| long == option)
}

/// clap's message without its advice on the command line.
fn reason(error: &clap::Error) -> String {
    let told = error.to_string();
    let told = told.strip_prefix("error: ").unwrap_or(&told);
    let end = told.find("\n\nFor more").or_else(|| told.find("\n\nUsage")).unwrap_or(told.len());
    told[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}
