-- What the archive knows. Text columns hold the same spellings as the JSON of snapshots; times are seconds since 1970 (UTC).

-- A blob in the tree, named by the sha256 of its raw bytes (lower-case hexadecimal).
CREATE TABLE blobs (
    digest   TEXT    NOT NULL PRIMARY KEY,
    raw_size INTEGER NOT NULL,
    zst_size INTEGER NOT NULL
) STRICT;

CREATE TABLE kernels (
    id              INTEGER PRIMARY KEY,
    -- The key, in canonical spelling.
    distro          TEXT    NOT NULL,
    version         TEXT    NOT NULL,
    arch            TEXT    NOT NULL,
    release         TEXT    NOT NULL,
    -- The whole key, and the release alone, so written that bytewise order is version order.
    key_order       TEXT    NOT NULL UNIQUE,
    release_order   TEXT    NOT NULL,
    -- Lower-case hexadecimal; null where unknown.
    build_id        TEXT,
    digest          TEXT    NOT NULL REFERENCES blobs (digest),
    -- Provenance.
    package         TEXT,
    package_version TEXT,
    url             TEXT,
    package_sha256  TEXT,
    trust           TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    generator       TEXT    NOT NULL,
    added           INTEGER NOT NULL,
    UNIQUE (distro, version, arch, release)
) STRICT;

CREATE INDEX kernels_build_id ON kernels (build_id) WHERE build_id IS NOT NULL;
CREATE INDEX kernels_digest ON kernels (digest);
CREATE INDEX kernels_release ON kernels (release);
CREATE INDEX kernels_package ON kernels (package, package_version) WHERE package IS NOT NULL;
-- The neighbours of a release that is not there, from near relatives to far ones.
CREATE INDEX kernels_near_distro ON kernels (distro, arch, release_order);
CREATE INDEX kernels_near_arch ON kernels (arch, release_order);
CREATE INDEX kernels_near ON kernels (release_order);

-- Kernels (by key) and packages (by name and version) whose BTF could not be made, and why.
CREATE TABLE failures (
    kind        TEXT    NOT NULL CHECK (kind IN ('key', 'package')),
    subject     TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT;

-- Each deliberate change of a key's digest.
CREATE TABLE replacements (
    id         INTEGER PRIMARY KEY,
    key        TEXT    NOT NULL,
    old_digest TEXT    NOT NULL,
    new_digest TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    at         INTEGER NOT NULL
) STRICT;

CREATE INDEX replacements_key ON replacements (key);

-- The snapshots this catalog has seen published; the tree's own latest.json is what counts.
CREATE TABLE snapshots (
    number  INTEGER NOT NULL PRIMARY KEY,
    digest  TEXT    NOT NULL,
    created INTEGER NOT NULL
) STRICT;
