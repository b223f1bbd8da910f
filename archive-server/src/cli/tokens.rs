//! `btf-archive-server tokens`: who may change the archive over the network.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use btf_archive::store::{Scope, Token};
use serde_json::{Value, json};

use super::archive::ArchiveArgs;
use super::{NOT_FOUND, time};

/// Make, list and revoke the tokens with which others may change the archive over the network.
///
/// A token is shown once, when it is made; the catalog keeps its sha256 only.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a token, and print it.
    Make {
        #[command(flatten)]
        archive: ArchiveArgs,
        /// Whose it is, or what for.
        #[arg(long, value_name = "TEXT")]
        label: String,
        /// What it allows: upload (adding kernels) or admin (everything). May be given several times.
        #[arg(long, value_name = "SCOPE", default_value = "upload")]
        scope: Vec<Scope>,
        /// Days until it ends. 0: never.
        #[arg(long, value_name = "DAYS", default_value = "90")]
        days: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the tokens; their secrets are not known.
    List {
        #[command(flatten)]
        archive: ArchiveArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token, at once and for good.
    Revoke {
        #[command(flatten)]
        archive: ArchiveArgs,
        /// Its id: the eight digits after btfa_.
        id: String,
    },
    /// Show what was done, the latest first.
    Audit {
        #[command(flatten)]
        archive: ArchiveArgs,
        /// How many entries, at most 1000.
        #[arg(long, value_name = "N", default_value = "50")]
        limit: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let context = "cannot open the archive";
    match args.command {
        Command::Make { archive, label, scope, days, json } => {
            let archive = archive.open().await.context(context)?;
            let lifetime = (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 3600));
            let (token, made) = archive.catalog().make_token(&label, &scope, lifetime).await?;
            audit(&archive, "token-made", &made.id, &format!("{}: {}", scopes(&made), made.label)).await?;
            if json {
                let mut value = describe(&made);
                value["token"] = token.into();
                println!("{value}");
            } else {
                println!("{token}");
                eprintln!("keep it: it is not shown again; `tokens revoke {}` ends it", made.id);
            }
        }
        Command::List { archive, json } => {
            let tokens = archive.open().await.context(context)?.catalog().tokens().await?;
            if json {
                println!("{}", Value::Array(tokens.iter().map(describe).collect()));
            } else {
                for token in &tokens {
                    let state = match (token.revoked, token.expires) {
                        (Some(at), _) => format!("revoked {}", time(at)),
                        (None, Some(at)) => format!("until {}", time(at)),
                        (None, None) => "without end".to_owned(),
                    };
                    println!("{}  {:<12}  {state}  {}", token.id, scopes(token), token.label);
                }
            }
        }
        Command::Revoke { archive, id } => {
            let archive = archive.open().await.context(context)?;
            if !archive.catalog().revoke_token(&id).await? {
                eprintln!("btf-archive-server: there is no token {id}: `tokens list` shows them");
                return Ok(ExitCode::from(NOT_FOUND));
            }
            audit(&archive, "token-revoked", &id, "").await?;
            println!("revoked {id}");
        }
        Command::Audit { archive, limit, json } => {
            let entries = archive.open().await.context(context)?.catalog().audit_log(None, limit).await?;
            let values = entries.iter().map(|entry| {
                json!({
                    "id": entry.id, "at": entry.at, "actor": entry.actor, "action": entry.action,
                    "subject": entry.subject, "detail": entry.detail,
                })
            });
            if json {
                println!("{}", Value::Array(values.collect()));
            } else {
                for entry in &entries {
                    let (at, detail) = (time(entry.at), &entry.detail);
                    println!("{at}  {}  {}  {}  {detail}", entry.actor, entry.action, entry.subject);
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Records what was done here, by the user of this machine.
async fn audit(
    archive: &btf_archive::store::Archive,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<()> {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "?".to_owned());
    archive.catalog().audit(&format!("user {user}"), action, subject, detail).await.context("audit log")
}

fn scopes(token: &Token) -> String {
    token.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

fn describe(token: &Token) -> Value {
    let Token { id, label, created, expires, revoked, .. } = token;
    let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    json!({ "id": id, "label": label, "scopes": scopes, "created": created, "expires": expires, "revoked": revoked })
}
