//! Files of keys: written once, never over another, and read with a password where they are encrypted.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use btf_archive::trust::SigningKey;

/// Where a password comes from.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PasswordArgs {
    /// Read the password from this file's first line, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// The root's secret key.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RootSecretArgs {
    /// The root's secret key, which needs not be on this machine at any other time.
    #[arg(long, value_name = "FILE")]
    root_secret: PathBuf,
    #[command(flatten)]
    password: PasswordArgs,
}

impl PasswordArgs {
    /// The password, asked for if need be.
    pub(super) fn password(&self, prompt: &str) -> Result<String> {
        let Some(file) = &self.password_file else {
            return rpassword::prompt_password(prompt)
                .context("cannot ask for the password: use --password-file");
        };
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// A new password, asked for twice.
    pub(super) fn new_password(&self) -> Result<String> {
        let password = self.password("Password of the new key: ")?;
        anyhow::ensure!(!password.is_empty(), "an empty password protects nothing");
        if self.password_file.is_none() {
            anyhow::ensure!(self.password("Once more: ")? == password, "these are two different passwords");
        }
        Ok(password)
    }

    /// Reads a secret key.
    pub(super) fn read(&self, file: &Path) -> Result<SigningKey> {
        let prompt = format!("Password of {}: ", file.display());
        let password = || self.password(&prompt).map_err(|error| format!("{error:#}"));
        Ok(SigningKey::load(file, password)?)
    }
}

impl RootSecretArgs {
    pub(super) fn read(&self) -> Result<SigningKey> {
        self.password.read(&self.root_secret)
    }
}

/// Writes files that must not exist yet, all or none; `mode` is each one's.
pub(super) fn write_new(files: &[(&Path, &[u8], u32)]) -> Result<()> {
    let mut written = Vec::new();
    let result = files.iter().try_for_each(|(path, bytes, mode)| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(*mode).open(path)?;
        written.push(*path);
        file.write_all(bytes)?;
        file.sync_all()?;
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    });
    result.map_err(|error: std::io::Error| {
        let at = files.get(written.len()).or(files.last()).map_or(Path::new(""), |(path, ..)| path);
        for path in &written {
            let _ = std::fs::remove_file(path);
        }
        let reason = match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "is there already, and keys are never overwritten".to_owned()
            }
            _ => error.to_string(),
        };
        anyhow::anyhow!("{} {reason}", at.display())
    })
}

/// `FILE.pub` beside a secret key.
pub(super) fn public_path(secret: &Path) -> PathBuf {
    secret.with_added_extension("pub")
}
