//! Jobs: kernels to be made, so that many workers share the work and none does another's.
//!
//! A job is taken with a lease: while its worker shows signs of life ([`Catalog::renew`]) nobody else gets it; when the lease
//! ends without one, the next who asks does. A worker of this machine whose process is gone loses its jobs at once. A job goes
//! when its kernel is in the catalog or has failed for good ([`Catalog::finish`]). One that was in fact done twice
//! (a worker that slept past its lease) does no harm: what an archive takes is named by its content.

use std::time::Duration;

use super::super::{Error, Result};
use super::Catalog;
use super::database::Sql;
pub use super::worker::Worker;
use crate::Key;

/// A job that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The kernel.
    pub key: Key,
    /// What it is to be made of, as whoever enqueued it wrote that.
    pub spec: String,
    /// How often it was taken and not given back: more than 1 means that workers died of it, or with it.
    pub attempts: u64,
}

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Ready to be taken.
    pub ready: u64,
    /// To be taken later.
    pub later: u64,
    /// With a worker.
    pub at_work: u64,
}

impl Catalog {
    /// Puts a kernel among the jobs. One that is there already is brought up to date, unless somebody is at it.
    pub async fn enqueue(&self, key: &Key, spec: &str) -> Result<()> {
        let now = self.database.now();
        let sql = Sql::new(format!(
            "INSERT INTO jobs (key, spec, added, due, attempts) VALUES (?, ?, {now}, {now}, 0) \
             ON CONFLICT (key) DO UPDATE SET spec = excluded.spec, due = excluded.due WHERE jobs.worker IS NULL"
        ));
        self.database.execute(sql.bind(key.to_string()).bind(spec)).await?;
        Ok(())
    }

    /// Takes the job that has waited longest, if one is ready, for as long as `lease` (at least a second).
    pub async fn claim(&self, worker: &Worker, lease: Duration) -> Result<Option<Job>> {
        match self.claim_next(worker, lease).await? {
            None if self.free_jobs_of_the_dead().await? > 0 => self.claim_next(worker, lease).await,
            found => Ok(found),
        }
    }

    async fn claim_next(&self, worker: &Worker, lease: Duration) -> Result<Option<Job>> {
        let (now, skip_locked) = (self.database.now(), self.database.skip_locked());
        let mut transaction = self.database.begin_beside().await?;
        let ready = format!(
            "SELECT key, spec, attempts FROM jobs WHERE due <= {now} AND (worker IS NULL OR lease_until <= {now}) \
             ORDER BY due, added, key LIMIT 1{skip_locked}"
        );
        let ready = transaction.fetch(Sql::new(ready)).await?;
        let Some(row) = ready.first() else { return Ok(None) };
        let name = row.text("key")?;
        let sql = format!(
            "UPDATE jobs SET worker = ?, lease_until = {now} + ?, attempts = attempts + 1 WHERE key = ?"
        );
        transaction
            .execute(Sql::new(sql).bind(worker.name()).bind(seconds(lease)).bind(name.as_str()))
            .await?;
        let job = Job {
            key: name
                .parse()
                .map_err(|error: crate::Error| Error::Row { key: name, reason: error.to_string() })?,
            spec: row.text("spec")?,
            attempts: row.number("attempts")? + 1,
        };
        transaction.commit().await?;
        Ok(Some(job))
    }

    /// Takes the job of this kernel, whether it was enqueued or not; says whether it could, or somebody else is at it.
    pub async fn claim_key(&self, worker: &Worker, key: &Key, spec: &str, lease: Duration) -> Result<bool> {
        let now = self.database.now();
        let sql = Sql::new(format!(
            "INSERT INTO jobs (key, spec, added, due, attempts, worker, lease_until) \
             VALUES (?, ?, {now}, {now}, 1, ?, {now} + ?) \
             ON CONFLICT (key) DO UPDATE SET spec = excluded.spec, attempts = jobs.attempts + 1, \
             worker = excluded.worker, lease_until = excluded.lease_until \
             WHERE jobs.worker IS NULL OR jobs.lease_until <= {now}"
        ));
        let sql = sql.bind(key.to_string()).bind(spec).bind(worker.name()).bind(seconds(lease));
        if self.database.execute(sql.clone()).await? > 0 {
            return Ok(true);
        }
        Ok(self.free_jobs_of_the_dead().await? > 0 && self.database.execute(sql).await? > 0)
    }

    /// A sign of life: all jobs of this worker are its own for another `lease`. Gives their number.
    pub async fn renew(&self, worker: &Worker, lease: Duration) -> Result<u64> {
        let sql = format!("UPDATE jobs SET lease_until = {} + ? WHERE worker = ?", self.database.now());
        self.database.execute(Sql::new(sql).bind(seconds(lease)).bind(worker.name())).await
    }

    /// The job is done, or will never be; says whether it was still this worker's.
    pub async fn finish(&self, worker: &Worker, key: &Key) -> Result<bool> {
        let sql = Sql::new("DELETE FROM jobs WHERE key = ? AND worker = ?");
        Ok(self.database.execute(sql.bind(key.to_string()).bind(worker.name())).await? > 0)
    }

    /// The job is to be done later, or by somebody else; says whether it was still this worker's.
    pub async fn put_back(&self, worker: &Worker, key: &Key, pause: Duration) -> Result<bool> {
        let sql = Sql::new(format!(
            "UPDATE jobs SET worker = NULL, lease_until = NULL, attempts = attempts - 1, due = {} + ? \
             WHERE key = ? AND worker = ?",
            self.database.now()
        ));
        let sql = sql.bind(pause.as_secs()).bind(key.to_string()).bind(worker.name());
        Ok(self.database.execute(sql).await? > 0)
    }

    /// How many jobs there are.
    pub async fn backlog(&self) -> Result<Backlog> {
        let now = self.database.now();
        let held = format!("(worker IS NOT NULL AND lease_until > {now})");
        let sql = format!(
            "SELECT coalesce(sum(CASE WHEN {held} THEN 1 ELSE 0 END), 0) AS at_work, \
             coalesce(sum(CASE WHEN NOT {held} AND due <= {now} THEN 1 ELSE 0 END), 0) AS ready, \
             count(*) AS jobs FROM jobs"
        );
        let Some(row) = self.database.fetch_one(Sql::new(sql)).await? else { return Ok(Backlog::default()) };
        let (at_work, ready, jobs) = (row.number("at_work")?, row.number("ready")?, row.number("jobs")?);
        Ok(Backlog { ready, at_work, later: jobs.saturating_sub(at_work + ready) })
    }

    /// Frees the jobs of workers of this machine that are gone; gives their number.
    async fn free_jobs_of_the_dead(&self) -> Result<u64> {
        let holders = Sql::new("SELECT DISTINCT worker FROM jobs WHERE worker IS NOT NULL");
        let mut freed = 0;
        for row in self.database.fetch(holders).await? {
            let name = row.text("worker")?;
            if Worker::is_gone(&name) {
                let sql = Sql::new("UPDATE jobs SET worker = NULL, lease_until = NULL WHERE worker = ?");
                freed += self.database.execute(sql.bind(name)).await?;
            }
        }
        Ok(freed)
    }
}

fn seconds(lease: Duration) -> u64 {
    lease.as_secs().max(1)
}
