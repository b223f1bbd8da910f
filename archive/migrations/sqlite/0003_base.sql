-- The blob on which this one is stored as a delta; null for a whole one.
ALTER TABLE blobs ADD COLUMN base TEXT;
-- When somebody last meant to use it: what is unreferenced goes only some hours after that.
ALTER TABLE blobs ADD COLUMN touched INTEGER NOT NULL DEFAULT 0;
CREATE INDEX blobs_base ON blobs (base) WHERE base IS NOT NULL;

-- Other names that this archive's operator gave to kernels.
CREATE TABLE aliases (
    -- A key, in canonical spelling, which no kernel has.
    alias   TEXT    NOT NULL PRIMARY KEY,
    release TEXT    NOT NULL,
    -- The kernel's own key.
    key     TEXT    NOT NULL,
    added   INTEGER NOT NULL
) STRICT;

CREATE INDEX aliases_release ON aliases (release);

-- Kept whatever the rule for old snapshots says, and why; and when a snapshot was removed by that rule.
ALTER TABLE snapshots ADD COLUMN pinned TEXT;
ALTER TABLE snapshots ADD COLUMN removed INTEGER;

-- Who may change the archive over the network. Of the secret only its sha256 is kept.
CREATE TABLE tokens (
    id      TEXT    NOT NULL PRIMARY KEY,
    hash    TEXT    NOT NULL UNIQUE,
    label   TEXT    NOT NULL,
    -- Words, with spaces between: upload, admin.
    scopes  TEXT    NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER
) STRICT;

-- Who did what that is not seen in the tree.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    detail  TEXT    NOT NULL
) STRICT;
