-- The mails that the daemon writes beside broadcasts: written here before the first try, tried over the relays in their
-- order until one has taken them. The id is the Message-ID of every try.
CREATE TABLE mail (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('drill', 'alarm', 'certificate', 'reminder')),
    -- What it tells of: the run of a drill, the time that a certificate was due.
    about      TEXT NOT NULL,
    recipient  TEXT NOT NULL,
    -- Subject, text and HTML as JSON; null where they are made from what it tells of: the report in the row of a run.
    letter     TEXT,
    state      TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'given-up')),
    tries      BIGINT NOT NULL,
    written_at BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    deadline   BIGINT NOT NULL,
    error      TEXT
);
-- Nobody is told the same twice.
CREATE UNIQUE INDEX mail_of ON mail (kind, about, recipient);
CREATE INDEX mail_due ON mail (not_before) WHERE state = 'queued';

-- What recurs, and up to when it has been told of.
CREATE TABLE mail_mark (
    name TEXT PRIMARY KEY,
    -- What held then: the line of a schedule, the day that was due.
    line TEXT NOT NULL,
    at   BIGINT NOT NULL
);

INSERT INTO mail (id, kind, about, recipient, state, tries, written_at, not_before, deadline, error)
    SELECT m.id, 'drill', m.run, m.recipient, m.state, m.tries, COALESCE(r.finished_at, r.begun_at), m.not_before,
           m.deadline, m.error
    FROM drill_mail m JOIN drill_run r ON r.id = m.run
    WHERE m.id IN (SELECT MIN(id) FROM drill_mail GROUP BY run, recipient);
DROP TABLE drill_mail;
