//! From files to a set of distributions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::definition::Definition;
use super::{Distros, Error, Problem, check, shipped};

/// The largest file read, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

/// A definition with the text that its lines are counted in.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) shipped: bool,
    pub(super) definition: Definition,
}

impl Source {
    /// The problem at a byte of the text.
    pub(super) fn problem(&self, at: usize, message: impl Into<String>) -> Problem {
        let line = Some(line_of(&self.text, at));
        Problem { file: self.path.clone(), line, message: message.into() }
    }

    /// A path beside the file.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The shipped distributions, and those of a directory.
pub(super) fn distros(dir: Option<&Path>) -> Result<Distros, Error> {
    let mut problems = Vec::new();
    let mut sources: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for (name, text) in shipped::FILES {
        let shipped = parse(Path::new(name), text).map(|source| Source { shipped: true, ..source });
        take(&mut sources, shipped, &mut problems);
    }
    for path in dir.map(|dir| files(dir, &mut problems)).unwrap_or_default() {
        match text(&path) {
            Ok(text) => {
                let parsed = parse(&path, &text);
                if let Ok(source) = &parsed
                    && source.definition.replace
                {
                    sources.remove(source.definition.id.get_ref());
                }
                take(&mut sources, parsed, &mut problems);
            }
            Err(message) => problems.push(Problem { file: path, line: None, message }),
        }
    }
    let mut distros = Vec::new();
    for (id, of_id) in &sources {
        match inherit(of_id, &sources) {
            Ok(of_id) => match check::distro(id, &of_id) {
                Ok(distro) => distros.push(distro),
                Err(found) => problems.extend(found),
            },
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(Distros { distros }) } else { Err(Error { problems }) }
}

fn take(
    sources: &mut BTreeMap<String, Vec<Source>>,
    parsed: Result<Source, Problem>,
    problems: &mut Vec<Problem>,
) {
    match parsed {
        Ok(source) => sources.entry(source.definition.id.get_ref().clone()).or_default().push(source),
        Err(problem) => problems.push(problem),
    }
}

/// The `*.toml` files of a directory, by name.
fn files(dir: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut fail = |message: String| problems.push(Problem { file: dir.to_owned(), line: None, message });
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            fail(format!("the directory of definitions cannot be read: {error}"));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    if files.is_empty() {
        fail("there is no file *.toml in this directory".into());
    }
    files
}

fn text(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > FILE_LIMIT {
        return Err(format!("is {size} bytes long, more than any definition"));
    }
    fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// One file as a definition.
pub(super) fn parse(path: &Path, text: &str) -> Result<Source, Problem> {
    match toml::from_str::<Definition>(text) {
        Ok(definition) => {
            Ok(Source { path: path.to_owned(), text: text.to_owned(), shipped: false, definition })
        }
        Err(error) => Err(Problem {
            file: path.to_owned(),
            line: error.span().map(|span| line_of(text, span.start)),
            message: explained(error.message()),
        }),
    }
}

/// serde's message about an unknown name, with the nearest of those that it lists.
fn explained(message: &str) -> String {
    let (what, rest) =
        match (message.strip_prefix("unknown field "), message.strip_prefix("unknown variant ")) {
            (Some(rest), _) => ("key", rest),
            (_, Some(rest)) => ("value", rest),
            _ => return message.to_owned(),
        };
    let mut names = rest.split('`').skip(1).step_by(2);
    let Some(unknown) = names.next() else { return message.to_owned() };
    let known: Vec<&str> = names.collect();
    let meant = nearest(unknown, known.iter().copied());
    let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    format!("unknown {what} `{unknown}`{meant} (there are {})", known.join(", "))
}

/// The name that is most like `unknown`, if any is alike.
pub(super) fn nearest<'n>(unknown: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}

/// Fills in what `like` gives. A definition that adds to another of the same id takes from that one.
fn inherit(of_id: &[Source], all: &BTreeMap<String, Vec<Source>>) -> Result<Vec<Source>, Problem> {
    let mut filled: Vec<Source> = Vec::new();
    for source in of_id {
        let mut source = source.clone();
        let own = &source.definition;
        let model = match (&own.like, filled.first()) {
            (Some(like), _) => {
                let wanted = btf_archive::alias::distro(like.get_ref());
                let found = all.get(&wanted).and_then(|sources| sources.first());
                let found =
                    found.filter(|model| model.path != source.path && model.definition.like.is_none());
                let message = || match all.get(&wanted) {
                    Some(_) => {
                        format!("like `{wanted}`: that definition is itself like another; name that one")
                    }
                    None => {
                        let meant = nearest(&wanted, all.keys().map(String::as_str));
                        let meant =
                            meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                        format!("like `{wanted}`: there is no such distribution{meant}")
                    }
                };
                Some(found.ok_or_else(|| source.problem(like.span().start, message()))?.clone())
            }
            (None, Some(first)) => Some(first.clone()),
            (None, None) => None,
        };
        if let Some(model) = model {
            let own = &mut source.definition;
            let of = model.definition.clone();
            own.packaging = own.packaging.or(of.packaging);
            own.architectures = own.architectures.take().or(of.architectures);
            own.uname = own.uname.take().or(of.uname);
            own.packages = own.packages.take().or(of.packages);
            own.places = own.places.take().or(of.places);
            own.btf = own.btf.take().or(of.btf);
            // Keys are for those whose they are: a definition that is like another is signed by someone else.
            if of_id.len() > 1 && own.like.is_none() {
                own.client_certificate = own.client_certificate.take().or(of.client_certificate);
            }
        }
        filled.push(source);
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse(Path::new("x.toml"), text).unwrap_err().to_string()
    }

    /// Check that a key or value that does not exist is named with file, line and the nearest that does.
    #[test]
    fn unknown_names() {
        let told = problem("id = \"acme\"\nrelases = []\n");
        assert!(told.starts_with("x.toml:2: unknown key `relases`; did you mean `releases`?"), "{told}");
        let told = problem(
            "id = \"acme\"\n[[releases]]\nversions = [\"1\"]\nrepositories = [\n{ kind = \"repmod\" },\n]\n",
        );
        assert!(told.starts_with("x.toml:5: unknown value `repmod`; did you mean `repomd`?"), "{told}");
        let told = problem("id = \"acme\"\nzzz = 1\n");
        assert!(told.starts_with("x.toml:2: unknown key `zzz` (there are id, name"), "{told}");
        let told = problem("id = \"acme\"\n\nname = 7\n");
        assert!(told.starts_with("x.toml:3: invalid type: integer `7`, expected a string"), "{told}");
        let told = problem("id = \"acme\nname = 7\n");
        assert!(told.starts_with("x.toml:1: "), "{told}");
        assert!(problem("name = \"acme\"\n").contains("missing field `id`"));
    }
}
