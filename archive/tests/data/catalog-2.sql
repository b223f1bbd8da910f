-- The catalog of a small archive as version 0.1.0 wrote it later, schema 2.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO _sqlx_migrations VALUES(1,'kernels','2026-11-20 18:11:27',1,X'a72500fbdf5a2738a5cd03f125f4fb613f87e8a28ee6c12adcbf49587907cda15a3a360b8e6c9be41a1d614592a7b8d3',7752607);
INSERT INTO _sqlx_migrations VALUES(2,'jobs','2026-11-20 18:11:27',1,X'8c144b2ada927c5369f6a3ee57d495abc7be3bf813292f536b87d7121ecb485402c14bee031e1a27282b2c7f2be3d931',5390809);
CREATE TABLE blobs (
    digest   TEXT    NOT NULL PRIMARY KEY,
    raw_size INTEGER NOT NULL,
    zst_size INTEGER NOT NULL
) STRICT;
INSERT INTO blobs VALUES('7399ebf691740633911804d89a0b4b4350253557a3165f6af5cece5483f3fa49',100,78);
INSERT INTO blobs VALUES('20bb0d075567198e62a17a4cc16564a84769d6a3b4cc642844caee7bcd707e3c',100,78);
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
    added           INTEGER NOT NULL, config TEXT, modules TEXT,
    UNIQUE (distro, version, arch, release)
) STRICT;
INSERT INTO kernels VALUES(1,'debian','11','i386','5.10.0-34-686-pae','debian/00211/i003386/0015.00210.000-00234-003686-paedebian/11/i386/5.10.0-34-686-pae','0015.00210.000-00234-003686-pae5.10.0-34-686-pae','0000000000000000000000000000000000000001','7399ebf691740633911804d89a0b4b4350253557a3165f6af5cece5483f3fa49',NULL,NULL,NULL,NULL,'none','upload','btf-archive-server 0.1.0',1795198287,'20bb0d075567198e62a17a4cc16564a84769d6a3b4cc642844caee7bcd707e3c',NULL);
INSERT INTO kernels VALUES(2,'debian','11','i386','5.10.0-35-686-pae','debian/00211/i003386/0015.00210.000-00235-003686-paedebian/11/i386/5.10.0-35-686-pae','0015.00210.000-00235-003686-pae5.10.0-35-686-pae',NULL,'20bb0d075567198e62a17a4cc16564a84769d6a3b4cc642844caee7bcd707e3c',NULL,NULL,NULL,NULL,'none','upload','btf-archive-server 0.1.0',1795198287,NULL,NULL);
CREATE TABLE failures (
    kind        TEXT    NOT NULL CHECK (kind IN ('key', 'package')),
    subject     TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL, class TEXT NOT NULL DEFAULT 'lasting' CHECK (class IN ('passing', 'lasting', 'refused')), retry_at INTEGER, package TEXT, package_version TEXT, generator TEXT,
    PRIMARY KEY (kind, subject)
) STRICT;
INSERT INTO failures VALUES('key','debian/11/i386/5.10.0-36-686-pae','no vmlinux',2,1795187641,1795187642,'passing',1795188842,'linux-image-dbg','1.0','btfgen 0.1.0');
CREATE TABLE replacements (
    id         INTEGER PRIMARY KEY,
    key        TEXT    NOT NULL,
    old_digest TEXT    NOT NULL,
    new_digest TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    at         INTEGER NOT NULL
) STRICT;
INSERT INTO replacements VALUES(1,'debian/11/i386/5.10.0-35-686-pae','7f01e014a7162fe5b2b453220430e12192e3f3d45f93d3e6bfd881e34480be3f','20bb0d075567198e62a17a4cc16564a84769d6a3b4cc642844caee7bcd707e3c','made again',1795187641);
CREATE TABLE snapshots (
    number  INTEGER NOT NULL PRIMARY KEY,
    digest  TEXT    NOT NULL,
    created INTEGER NOT NULL
) STRICT;
INSERT INTO snapshots VALUES(1,'5638a9f4932a8213a4986dd8855835ea9685c2ebe2c2834cc52b9603af54bfa4',1795198287);
INSERT INTO snapshots VALUES(2,'d512137f18542fae3174d3ca93b31442e3c12c894463b0d9759c3f83054b0bc7',1795198287);
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
INSERT INTO jobs VALUES('debian/11/i386/5.10.0-37-686-pae','{}',1795187641,1795187641,0,NULL,NULL);
CREATE INDEX kernels_build_id ON kernels (build_id) WHERE build_id IS NOT NULL;
CREATE INDEX kernels_digest ON kernels (digest);
CREATE INDEX kernels_release ON kernels (release);
CREATE INDEX kernels_package ON kernels (package, package_version) WHERE package IS NOT NULL;
CREATE INDEX kernels_near_distro ON kernels (distro, arch, release_order);
CREATE INDEX kernels_near_arch ON kernels (arch, release_order);
CREATE INDEX kernels_near ON kernels (release_order);
CREATE INDEX replacements_key ON replacements (key);
CREATE INDEX jobs_due ON jobs (due, added);
CREATE INDEX jobs_worker ON jobs (worker) WHERE worker IS NOT NULL;
COMMIT;
