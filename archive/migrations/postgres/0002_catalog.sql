-- Schema 2, the first on PostgreSQL: the same tables as SQLite's. Text is compared by bytes ("C"), as the order of keys needs it.

CREATE TABLE blobs (
    digest   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    raw_size BIGINT NOT NULL,
    zst_size BIGINT NOT NULL
);

CREATE TABLE kernels (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    distro          TEXT COLLATE "C" NOT NULL,
    version         TEXT COLLATE "C" NOT NULL,
    arch            TEXT COLLATE "C" NOT NULL,
    release         TEXT COLLATE "C" NOT NULL,
    key_order       TEXT COLLATE "C" NOT NULL UNIQUE,
    release_order   TEXT COLLATE "C" NOT NULL,
    build_id        TEXT COLLATE "C",
    digest          TEXT COLLATE "C" NOT NULL REFERENCES blobs (digest),
    package         TEXT COLLATE "C",
    package_version TEXT COLLATE "C",
    url             TEXT,
    package_sha256  TEXT,
    trust           TEXT NOT NULL,
    source          TEXT NOT NULL,
    generator       TEXT NOT NULL,
    added           BIGINT NOT NULL,
    config          TEXT COLLATE "C",
    modules         TEXT COLLATE "C",
    UNIQUE (distro, version, arch, release)
);

CREATE INDEX kernels_build_id ON kernels (build_id) WHERE build_id IS NOT NULL;
CREATE INDEX kernels_digest ON kernels (digest);
CREATE INDEX kernels_release ON kernels (release);
CREATE INDEX kernels_package ON kernels (package, package_version) WHERE package IS NOT NULL;
CREATE INDEX kernels_near_distro ON kernels (distro, arch, release_order);
CREATE INDEX kernels_near_arch ON kernels (arch, release_order);
CREATE INDEX kernels_near ON kernels (release_order);

CREATE TABLE failures (
    kind            TEXT COLLATE "C" NOT NULL CHECK (kind IN ('key', 'package')),
    subject         TEXT COLLATE "C" NOT NULL,
    reason          TEXT NOT NULL,
    attempts        BIGINT NOT NULL,
    first_at        BIGINT NOT NULL,
    last_at         BIGINT NOT NULL,
    class           TEXT NOT NULL CHECK (class IN ('passing', 'lasting', 'refused')),
    retry_at        BIGINT,
    package         TEXT,
    package_version TEXT,
    generator       TEXT,
    PRIMARY KEY (kind, subject)
);

CREATE TABLE replacements (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        TEXT COLLATE "C" NOT NULL,
    old_digest TEXT NOT NULL,
    new_digest TEXT NOT NULL,
    reason     TEXT NOT NULL,
    at         BIGINT NOT NULL
);

CREATE INDEX replacements_key ON replacements (key);

CREATE TABLE snapshots (
    number  BIGINT NOT NULL PRIMARY KEY,
    digest  TEXT NOT NULL,
    created BIGINT NOT NULL
);

CREATE TABLE jobs (
    key         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    spec        TEXT NOT NULL,
    added       BIGINT NOT NULL,
    due         BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    worker      TEXT COLLATE "C",
    lease_until BIGINT
);

CREATE INDEX jobs_due ON jobs (due, added);
CREATE INDEX jobs_worker ON jobs (worker) WHERE worker IS NOT NULL;
