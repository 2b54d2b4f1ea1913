-- What was seen of accounts and of the daemon. What stays the same is one row that grows.
CREATE TABLE observation (
    id      BIGINT PRIMARY KEY,
    subject TEXT NOT NULL,
    look    TEXT NOT NULL CHECK (look IN ('reach', 'profile', 'backstage', 'event')),
    reach   TEXT NOT NULL CHECK (reach IN ('reachable', 'degraded', 'unreachable')),
    since   BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    took_ms BIGINT NOT NULL,
    body    TEXT NOT NULL
);
CREATE INDEX observation_of ON observation (subject, look, id);
CREATE INDEX observation_at ON observation (at);

-- What is or was amiss.
CREATE TABLE condition (
    id       BIGINT PRIMARY KEY,
    subject  TEXT NOT NULL,
    trouble  TEXT NOT NULL,
    since    BIGINT NOT NULL,
    seen_at  BIGINT NOT NULL,
    ended_at BIGINT,
    sign     TEXT NOT NULL
);
CREATE UNIQUE INDEX condition_open ON condition (subject, trouble) WHERE ended_at IS NULL;
CREATE INDEX condition_ended ON condition (ended_at) WHERE ended_at IS NOT NULL;

-- What people are told of it. Each moment of a condition once; `void` is what was over before it had to be told.
CREATE TABLE notice (
    id        BIGINT PRIMARY KEY,
    condition BIGINT NOT NULL REFERENCES condition (id),
    phase     TEXT NOT NULL CHECK (phase IN ('begin', 'end')),
    -- The step of a trouble that grows; 0 if it has none.
    step      BIGINT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('due', 'told', 'void')),
    due_at    BIGINT NOT NULL,
    tries     BIGINT NOT NULL,
    told_at   BIGINT,
    -- By which way it was told, or why it was not.
    note      TEXT,
    sign      TEXT NOT NULL,
    UNIQUE (condition, phase, step)
);
CREATE INDEX notice_due ON notice (due_at) WHERE state = 'due';
