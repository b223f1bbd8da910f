-- The catalog of a small archive as version 0.1.0 wrote it, schema 1.
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(1,'kernels','2026-11-20 15:14:01',1,X'A72500FBDF5A2738A5CD03F125F4FB613F87E8A28EE6C12ADCBF49587907CDA15A3A360B8E6C9BE41A1D614592A7B8D3',3365055);
CREATE TABLE blobs (
    digest   TEXT    NOT NULL PRIMARY KEY,
    raw_size INTEGER NOT NULL,
    zst_size INTEGER NOT NULL
) STRICT;
INSERT INTO "blobs" VALUES('3efb58e1b3c7c3dc3b76d457192a3366b598c0f42be52ddfc45a6f941d727417',106,79);
INSERT INTO "blobs" VALUES('61c09488bc0b2f2eb85cbc133893ef61a63e5bc6b8b6b0cedf6fe74ffffe5637',106,81);
INSERT INTO "blobs" VALUES('0d479c5f3d0c3d8f7ca97228f9e19fa595196e253101719cbed98ad4b5ab4df8',106,79);
CREATE TABLE failures (
    kind        TEXT    NOT NULL CHECK (kind IN ('key', 'package')),
    subject     TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT;
INSERT INTO "failures" VALUES('key','debian/11/i386/5.10.0-36-686-pae','no vmlinux',1,1795187641,1795187641);
INSERT INTO "failures" VALUES('package','linux-image-5.10.0-36-686-pae-dbg 5.10.1 i386 (btfgen 0.1.0)','no vmlinux',1,1795187641,1795187641);
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
INSERT INTO "kernels" VALUES(1,'debian','11','i386','5.10.0-34-686-pae','debian/00211/i003386/0015.00210.000-00234-003686-paedebian/11/i386/5.10.0-34-686-pae','0015.00210.000-00234-003686-pae5.10.0-34-686-pae','0000000000000000000000000000000000000001','3efb58e1b3c7c3dc3b76d457192a3366b598c0f42be52ddfc45a6f941d727417','linux-image-dbg','1.0','https://mirror.example/linux.deb','bc4a71180870f7945155fbb02f4b0a2e3faa2a62d6d31b7039013055ed19869a','signed-package','dwarf','btfgen 0.1.0',1795187641);
INSERT INTO "kernels" VALUES(2,'debian','11','i386','5.10.0-35-686-pae','debian/00211/i003386/0015.00210.000-00235-003686-paedebian/11/i386/5.10.0-35-686-pae','0015.00210.000-00235-003686-pae5.10.0-35-686-pae',NULL,'0d479c5f3d0c3d8f7ca97228f9e19fa595196e253101719cbed98ad4b5ab4df8','linux-image-dbg','1.0','https://mirror.example/linux.deb','bc4a71180870f7945155fbb02f4b0a2e3faa2a62d6d31b7039013055ed19869a','signed-package','dwarf','btfgen 0.1.0',1795187641);
CREATE TABLE replacements (
    id         INTEGER PRIMARY KEY,
    key        TEXT    NOT NULL,
    old_digest TEXT    NOT NULL,
    new_digest TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    at         INTEGER NOT NULL
) STRICT;
INSERT INTO "replacements" VALUES(1,'debian/11/i386/5.10.0-35-686-pae','61c09488bc0b2f2eb85cbc133893ef61a63e5bc6b8b6b0cedf6fe74ffffe5637','0d479c5f3d0c3d8f7ca97228f9e19fa595196e253101719cbed98ad4b5ab4df8','made again by a fixed generator',1795187641);
CREATE TABLE snapshots (
    number  INTEGER NOT NULL PRIMARY KEY,
    digest  TEXT    NOT NULL,
    created INTEGER NOT NULL
) STRICT;
INSERT INTO "snapshots" VALUES(1,'de302cea4f3ff74c80fe4689a46052dc1600820b92225f3f6db6d769a0b234a8',1795187641);
INSERT INTO "snapshots" VALUES(2,'31c22d5b8e9e0c65272ee20fbc3b5a36c0ea59ac8d4b2298e076c07b1d845611',1795187641);
CREATE INDEX kernels_build_id ON kernels (build_id) WHERE build_id IS NOT NULL;
CREATE INDEX kernels_digest ON kernels (digest);
CREATE INDEX kernels_release ON kernels (release);
CREATE INDEX kernels_package ON kernels (package, package_version) WHERE package IS NOT NULL;
CREATE INDEX kernels_near_distro ON kernels (distro, arch, release_order);
CREATE INDEX kernels_near_arch ON kernels (arch, release_order);
CREATE INDEX kernels_near ON kernels (release_order);
CREATE INDEX replacements_key ON replacements (key);
COMMIT;
