//! Checking who signed the newest snapshot.

use std::time::{SystemTime, UNIX_EPOCH};

use btf_archive::snapshot::{self, LATEST};
use btf_archive::store::{Archive, Error, Result};
use btf_archive::trust::{KEYS, KeyList, signature_path};
use bytes::Bytes;

use super::{Options, Report};

/// Checks the list of keys and the signatures of the newest snapshot and of `latest.json`.
pub(super) async fn check(archive: &Archive, options: &Options, report: &mut Report) -> Result<()> {
    let Some(json) = there(archive.keys_json().await)? else {
        if options.policy.is_some() {
            report.found(&KEYS, &"is missing: the archive is not signed, and a root is pinned");
        } else if there(archive.signature(LATEST).await)?.is_some() {
            report.found(&KEYS, &"is missing, but the archive is signed");
        }
        return Ok(());
    };
    let Some(list) = keys(archive, &json, options, report).await? else { return Ok(()) };
    report.seen.keys = list.version;
    let Some(latest_json) = there(archive.latest_json().await)? else { return Ok(()) };
    // What is wrong with latest.json itself is found where the snapshots are read.
    let Ok(Some(latest)) = archive.latest().await else { return Ok(()) };
    let path = snapshot::path(latest.number);
    let Some(file) = there(archive.snapshot_zst(latest.number).await)? else { return Ok(()) };

    match there(archive.signature(&path).await)? {
        None => report.found(&signature_path(&path), &"is missing"),
        Some(signature) => match &options.policy {
            Some(policy) => {
                let checked =
                    policy.check_snapshot(&list, &latest_json, &file, &signature, now(), &options.seen);
                match checked {
                    Ok(checked) => {
                        report.signed_by = Some(checked.key);
                        report.root_checked = true;
                        report.seen = checked.seen;
                        report.warnings.extend(checked.warning);
                    }
                    Err(error) => report.found(&path, &error),
                }
            }
            None => {
                let signed = list.check_signed("the snapshot", &file, &signature);
                match signed {
                    Ok(key) => {
                        report.signed_by = Some(key.id);
                        let expired = key.check_time("the snapshot", now()).err();
                        report.warnings.extend(expired.map(|error| error.to_string()));
                    }
                    Err(error) => report.found(&path, &error),
                }
                let none =
                    "no root is pinned (--root-key): whoever can write to the archive can sign it anew";
                report.warnings.push(none.to_owned());
            }
        },
    }
    match there(archive.signature(LATEST).await)? {
        None => report.found(&signature_path(LATEST), &"is missing"),
        Some(signature) => {
            if let Err(error) = list.check_signed(LATEST, &latest_json, &signature) {
                report.found(&signature_path(LATEST), &error);
            }
        }
    }
    Ok(())
}

/// The list of keys, as the pinned root signed it or, without one, as it is there.
async fn keys(
    archive: &Archive,
    json: &Bytes,
    options: &Options,
    report: &mut Report,
) -> Result<Option<KeyList>> {
    let decoded = KeyList::decode(json);
    let (Some(policy), Ok(list)) = (&options.policy, &decoded) else {
        return Ok(decoded.map_err(|error| report.found(&KEYS, &error)).ok());
    };
    let signed = |signature: Option<Bytes>| match signature {
        None => Err("is missing".to_owned()),
        Some(signature) => {
            policy.check_keys(json, &signature, &options.seen).map(drop).map_err(|error| error.to_string())
        }
    };
    if let Err(reason) = signed(there(archive.signature(KEYS).await)?) {
        report.found(&signature_path(KEYS), &reason);
        // As readers do, who may come while a new list is written.
        if signed(there(archive.keys_signature(list.version).await)?).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(list.clone()))
}

/// What is there, if it is.
fn there(found: Result<Bytes>) -> Result<Option<Bytes>> {
    match found {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Seconds since 1970 (UTC).
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
