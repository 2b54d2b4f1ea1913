-- The register's own memory: what people have attested, applied for, decided and signed off, and when the public list was
-- last published and looked at. What accounts are for stands in the configuration and nowhere else.

-- Never changed but to take one back; the latest of an account and a matter counts.
CREATE TABLE attestation (
    id              BIGINT PRIMARY KEY,
    account         TEXT NOT NULL,
    what            TEXT NOT NULL,
    evidence        TEXT NOT NULL,
    actor           TEXT NOT NULL,
    at              BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    revoked_at      BIGINT,
    revoked_by      TEXT,
    revoked_because TEXT,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX attestation_of_account ON attestation (account, what, id);

-- The application as JSON, exactly as it was filed; the decision, once there is one.
CREATE TABLE application (
    id       BIGINT PRIMARY KEY,
    body     TEXT NOT NULL,
    actor    TEXT NOT NULL,
    at       BIGINT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('open', 'approved', 'rejected')),
    decision TEXT,
    CHECK ((decision IS NULL) = (state = 'open'))
);

CREATE TABLE closing_step (
    account TEXT NOT NULL,
    step    TEXT NOT NULL,
    actor   TEXT NOT NULL,
    at      BIGINT NOT NULL,
    note    TEXT,
    PRIMARY KEY (account, step)
) /*sqlite WITHOUT ROWID*/;

-- What recurs: `publish/<account>` and `check`, with what came of it the last time, as JSON.
CREATE TABLE register_mark (
    name TEXT PRIMARY KEY,
    at   BIGINT NOT NULL,
    body TEXT NOT NULL
);
