-- Schema 3: as SQLite's, where each table and column is explained.
ALTER TABLE blobs ADD COLUMN base TEXT COLLATE "C";
ALTER TABLE blobs ADD COLUMN touched BIGINT NOT NULL DEFAULT 0;
CREATE INDEX blobs_base ON blobs (base) WHERE base IS NOT NULL;

CREATE TABLE aliases (
    alias   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    release TEXT COLLATE "C" NOT NULL,
    key     TEXT COLLATE "C" NOT NULL,
    added   BIGINT NOT NULL
);

CREATE INDEX aliases_release ON aliases (release);

ALTER TABLE snapshots ADD COLUMN pinned TEXT;
ALTER TABLE snapshots ADD COLUMN removed BIGINT;

CREATE TABLE tokens (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    hash    TEXT COLLATE "C" NOT NULL UNIQUE,
    label   TEXT NOT NULL,
    scopes  TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT,
    revoked BIGINT
);

CREATE TABLE audit (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
);
