-- What a kernel has beside its BTF: its configuration, and the split BTF of its modules. Digests of blobs, of which a catalog made
-- from a snapshot does not know the sizes.
ALTER TABLE kernels ADD COLUMN config TEXT;
ALTER TABLE kernels ADD COLUMN modules TEXT;

-- Failures say what they were made of, and when trying again makes sense. Those of packages, which version 1 kept beside
-- those of their kernels, come again if they last.
DELETE FROM failures WHERE kind = 'package';
ALTER TABLE failures ADD COLUMN class TEXT NOT NULL DEFAULT 'lasting' CHECK (class IN ('passing', 'lasting', 'refused'));
-- Null: not before something changes.
ALTER TABLE failures ADD COLUMN retry_at INTEGER;
ALTER TABLE failures ADD COLUMN package TEXT;
ALTER TABLE failures ADD COLUMN package_version TEXT;
ALTER TABLE failures ADD COLUMN generator TEXT;

-- Kernels to be made, and who is at it. A row goes when its kernel is made or has failed for good.
CREATE TABLE jobs (
    key         TEXT    NOT NULL PRIMARY KEY,
    -- What the workers need to know, as they write it.
    spec        TEXT    NOT NULL,
    added       INTEGER NOT NULL,
    -- Not to be taken before this.
    due         INTEGER NOT NULL,
    -- How often it was taken.
    attempts    INTEGER NOT NULL,
    -- Who has it, and until when without a sign of life.
    worker      TEXT,
    lease_until INTEGER
) STRICT;

CREATE INDEX jobs_due ON jobs (due, added);
CREATE INDEX jobs_worker ON jobs (worker) WHERE worker IS NOT NULL;
