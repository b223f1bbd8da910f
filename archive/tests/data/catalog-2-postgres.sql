-- The catalog of a small archive as version 0.1.0 wrote it later, schema 2.
CREATE TABLE _sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE blobs (
    digest text NOT NULL COLLATE pg_catalog."C",
    raw_size bigint NOT NULL,
    zst_size bigint NOT NULL
);
CREATE TABLE failures (
    kind text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL COLLATE pg_catalog."C",
    reason text NOT NULL,
    attempts bigint NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL,
    class text NOT NULL,
    retry_at bigint,
    package text,
    package_version text,
    generator text,
    CONSTRAINT failures_class_check CHECK ((class = ANY (ARRAY['passing'::text, 'lasting'::text, 'refused'::text]))),
    CONSTRAINT failures_kind_check CHECK ((kind = ANY (ARRAY['key'::text, 'package'::text])))
);
CREATE TABLE jobs (
    key text NOT NULL COLLATE pg_catalog."C",
    spec text NOT NULL,
    added bigint NOT NULL,
    due bigint NOT NULL,
    attempts bigint NOT NULL,
    worker text COLLATE pg_catalog."C",
    lease_until bigint
);
CREATE TABLE kernels (
    id bigint NOT NULL,
    distro text NOT NULL COLLATE pg_catalog."C",
    version text NOT NULL COLLATE pg_catalog."C",
    arch text NOT NULL COLLATE pg_catalog."C",
    release text NOT NULL COLLATE pg_catalog."C",
    key_order text NOT NULL COLLATE pg_catalog."C",
    release_order text NOT NULL COLLATE pg_catalog."C",
    build_id text COLLATE pg_catalog."C",
    digest text NOT NULL COLLATE pg_catalog."C",
    package text COLLATE pg_catalog."C",
    package_version text COLLATE pg_catalog."C",
    url text,
    package_sha256 text,
    trust text NOT NULL,
    source text NOT NULL,
    generator text NOT NULL,
    added bigint NOT NULL,
    config text COLLATE pg_catalog."C",
    modules text COLLATE pg_catalog."C"
);
ALTER TABLE kernels ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME kernels_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE replacements (
    id bigint NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    old_digest text NOT NULL,
    new_digest text NOT NULL,
    reason text NOT NULL,
    at bigint NOT NULL
);
ALTER TABLE replacements ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME replacements_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE snapshots (
    number bigint NOT NULL,
    digest text NOT NULL,
    created bigint NOT NULL
);
INSERT INTO _sqlx_migrations VALUES (2, 'catalog', '2026-11-20 18:11:27.254204+00', true, '\xbde7203bbc9fc38caa26e92680f464c13ef76ec99577a0edee984754c3b5b28465e03f26c3c053b38e42423f56fa525b', 14119822);
INSERT INTO blobs VALUES ('7399ebf691740633911804d89a0b4b4350253557a3165f6af5cece5483f3fa49', 100, 78);
INSERT INTO blobs VALUES ('20bb0d075567198e62a17a4cc16564a84769d6a3b4cc642844caee7bcd707e3c', 100, 78);
INSERT INTO failures VALUES ('key', 'debian/11/i386/5.10.0-36-686-pae', 'no vmlinux', 2, 1795187641, 1795187642, 'passing', 1795188842, 'linux-image-dbg', '1.0', 'btfgen 0.1.0');
INSERT INTO jobs VALUES ('debian/11/i386/5.10.0-37-686-pae', '{}', 1795187641, 1795187641, 0, NULL, NULL);
INSERT INTO kernels OVERRIDING SYSTEM VALUE VALUES (2, 'debian', '11', 'i386', '5.10.0-35-686-pae', 'debian/00211/i003386/0015.00210.000-00235-003686-paedebian/11/i386/5.10.0-35-686-pae', '0015.00210.000-00235-003686-pae5.10.0-35-686-pae', NULL, '20bb0d075567198e62a17a4cc16564a84769d6a3b4cc642844caee7bcd707e3c', NULL, NULL, NULL, NULL, 'none', 'upload', 'btf-archive-server 0.1.0', 1795198287, NULL, NULL);
INSERT INTO kernels OVERRIDING SYSTEM VALUE VALUES (1, 'debian', '11', 'i386', '5.10.0-34-686-pae', 'debian/00211/i003386/0015.00210.000-00234-003686-paedebian/11/i386/5.10.0-34-686-pae', '0015.00210.000-00234-003686-pae5.10.0-34-686-pae', '0000000000000000000000000000000000000001', '7399ebf691740633911804d89a0b4b4350253557a3165f6af5cece5483f3fa49', NULL, NULL, NULL, NULL, 'none', 'upload', 'btf-archive-server 0.1.0', 1795198287, '20bb0d075567198e62a17a4cc16564a84769d6a3b4cc642844caee7bcd707e3c', NULL);
INSERT INTO replacements OVERRIDING SYSTEM VALUE VALUES (1, 'debian/11/i386/5.10.0-35-686-pae', '7f01e014a7162fe5b2b453220430e12192e3f3d45f93d3e6bfd881e34480be3f', '20bb0d075567198e62a17a4cc16564a84769d6a3b4cc642844caee7bcd707e3c', 'made again', 1795187641);
INSERT INTO snapshots VALUES (1, '5638a9f4932a8213a4986dd8855835ea9685c2ebe2c2834cc52b9603af54bfa4', 1795198287);
INSERT INTO snapshots VALUES (2, 'd512137f18542fae3174d3ca93b31442e3c12c894463b0d9759c3f83054b0bc7', 1795198287);
SELECT pg_catalog.setval('kernels_id_seq', 2, true);
SELECT pg_catalog.setval('replacements_id_seq', 1, true);
ALTER TABLE ONLY _sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY blobs
    ADD CONSTRAINT blobs_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY failures
    ADD CONSTRAINT failures_pkey PRIMARY KEY (kind, subject);
ALTER TABLE ONLY jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (key);
ALTER TABLE ONLY kernels
    ADD CONSTRAINT kernels_distro_version_arch_release_key UNIQUE (distro, version, arch, release);
ALTER TABLE ONLY kernels
    ADD CONSTRAINT kernels_key_order_key UNIQUE (key_order);
ALTER TABLE ONLY kernels
    ADD CONSTRAINT kernels_pkey PRIMARY KEY (id);
ALTER TABLE ONLY replacements
    ADD CONSTRAINT replacements_pkey PRIMARY KEY (id);
ALTER TABLE ONLY snapshots
    ADD CONSTRAINT snapshots_pkey PRIMARY KEY (number);
CREATE INDEX jobs_due ON jobs USING btree (due, added);
CREATE INDEX jobs_worker ON jobs USING btree (worker) WHERE (worker IS NOT NULL);
CREATE INDEX kernels_build_id ON kernels USING btree (build_id) WHERE (build_id IS NOT NULL);
CREATE INDEX kernels_digest ON kernels USING btree (digest);
CREATE INDEX kernels_near ON kernels USING btree (release_order);
CREATE INDEX kernels_near_arch ON kernels USING btree (arch, release_order);
CREATE INDEX kernels_near_distro ON kernels USING btree (distro, arch, release_order);
CREATE INDEX kernels_package ON kernels USING btree (package, package_version) WHERE (package IS NOT NULL);
CREATE INDEX kernels_release ON kernels USING btree (release);
CREATE INDEX replacements_key ON replacements USING btree (key);
ALTER TABLE ONLY kernels
    ADD CONSTRAINT kernels_digest_fkey FOREIGN KEY (digest) REFERENCES blobs(digest);
