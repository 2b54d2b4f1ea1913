-- The runs of drills: what was planned, how far it came, and the report as it was told. Nothing of it is a delivery.
CREATE TABLE drill_run (
    -- The drill's id and a running number: `manadsovning.3`.
    id          TEXT PRIMARY KEY,
    seq         BIGINT NOT NULL,
    drill       TEXT NOT NULL,
    level       TEXT NOT NULL CHECK (level IN ('tabletop', 'reach', 'rehearse', 'backstage')),
    state       TEXT NOT NULL CHECK (state IN ('running', 'finished', 'missed', 'suspended', 'failed')),
    actor       TEXT NOT NULL,
    -- The node that carries it out.
    owner       TEXT NOT NULL,
    -- When its schedule said; null if a person started it.
    planned_at  BIGINT,
    begun_at    BIGINT NOT NULL,
    started_at  BIGINT,
    finished_at BIGINT,
    broadcast   TEXT,
    report      TEXT,
    CHECK ((state = 'running') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX drill_run_seq ON drill_run (seq);
CREATE INDEX drill_run_of_drill ON drill_run (drill, seq);
-- A planned time is run once, whoever notices it, on however many nodes.
CREATE UNIQUE INDEX drill_run_planned ON drill_run (drill, planned_at) WHERE planned_at IS NOT NULL;
CREATE INDEX drill_run_running ON drill_run (seq) WHERE state = 'running';

-- Up to when the times of a schedule have been dealt with.
CREATE TABLE drill_seen (
    drill    TEXT PRIMARY KEY,
    schedule TEXT NOT NULL,
    seen_at  BIGINT NOT NULL
);

-- The mails that tell of a run. Sent by the relays of the confirmation; the id is the Message-ID of every try.
CREATE TABLE drill_mail (
    id         TEXT PRIMARY KEY,
    run        TEXT NOT NULL REFERENCES drill_run (id),
    recipient  TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'given-up')),
    tries      BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    deadline   BIGINT NOT NULL,
    error      TEXT
);
CREATE INDEX drill_mail_of_run ON drill_mail (run, id);
CREATE INDEX drill_mail_due ON drill_mail (not_before) WHERE state = 'queued';
