-- One text for SQLite and PostgreSQL. Times are microseconds since the epoch, UTC. Never change a migration that was
-- released: its checksum is in every database. Add a new file. Two things are spelled for SQLite alone: it reads
-- `BIGINT PRIMARY KEY` as its own row number, and what stands in `/*sqlite …*/`.

-- Which data directory (or PostgreSQL database) this is, and whether it is a copy.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Running numbers: alerts per mode and year, deliveries, renderings.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE alert (
    id         TEXT PRIMARY KEY,
    mode       TEXT NOT NULL CHECK (mode IN ('live', 'drill', 'test')),
    state      TEXT NOT NULL CHECK (state IN ('active', 'ended')),
    broadcasts BIGINT NOT NULL
);

CREATE TABLE broadcast (
    id              TEXT PRIMARY KEY,
    seq             BIGINT NOT NULL,
    alert           TEXT NOT NULL REFERENCES alert (id),
    number          BIGINT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('initial', 'update', 'correction', 'all-clear')),
    mode            TEXT NOT NULL CHECK (mode IN ('live', 'drill', 'test')),
    message         TEXT NOT NULL,
    message_version BIGINT NOT NULL,
    headline        TEXT NOT NULL,
    actor           TEXT NOT NULL,
    accepted_at     BIGINT NOT NULL,
    valid_until     BIGINT NOT NULL,
    finished_at     BIGINT
);
CREATE UNIQUE INDEX broadcast_seq ON broadcast (seq);
CREATE UNIQUE INDEX broadcast_of_alert ON broadcast (alert, number);
CREATE INDEX broadcast_unfinished ON broadcast (seq) WHERE finished_at IS NULL;

-- Each distinct rendering of a broadcast once, as JSON, exactly as accepted.
CREATE TABLE rendering (
    id        BIGINT PRIMARY KEY,
    broadcast TEXT NOT NULL REFERENCES broadcast (id),
    body      TEXT NOT NULL
);

CREATE INDEX rendering_of_broadcast ON rendering (broadcast, id);

-- Each distinct picture once, under the SHA-256 of its bytes; renderings name it. SQLite keeps the bytes as they are,
-- whatever the column's type is called.
CREATE TABLE picture (
    sha256     TEXT PRIMARY KEY,
    media_type TEXT NOT NULL,
    body       BYTEA NOT NULL,
    kept_at    BIGINT NOT NULL
);

CREATE TABLE delivery (
    id            TEXT PRIMARY KEY,
    -- The order of acceptance.
    seq           BIGINT NOT NULL,
    alert         TEXT NOT NULL,
    broadcast     TEXT NOT NULL REFERENCES broadcast (id),
    kind          TEXT NOT NULL,
    mode          TEXT NOT NULL CHECK (mode IN ('live', 'drill', 'test')),
    account       TEXT NOT NULL,
    channel       TEXT NOT NULL,
    -- Empty where the channel has no recipients: equality then works in every index.
    recipient     TEXT NOT NULL,
    purpose       TEXT NOT NULL CHECK (purpose IN
                  ('publish', 'edit', 'pin', 'unpin', 'retract', 'confirm-hand-over', 'confirm-interim', 'confirm-final',
                   'confirm-closing')),
    -- What it acts on. Of what stands in for other accounts, the first delivery of theirs: see `stand_in`.
    target        TEXT,
    -- The accounts that it stands in for, a JSON array.
    stands_in_for TEXT,
    rendering     BIGINT NOT NULL REFERENCES rendering (id),
    -- What goes instead while the first stage has not been seen to answer.
    alternative   BIGINT REFERENCES rendering (id),
    proof         TEXT NOT NULL CHECK (proof IN ('keyed', 'read-back', 'unproven')),
    state         TEXT NOT NULL CHECK (state IN
                  ('queued', 'sending', 'published', 'edited', 'retracted', 'refused', 'unknown', 'held', 'manual',
                   'expired', 'superseded', 'cancelled')),
    -- The place in the lane; null when the daemon has no work with it.
    urgency       BIGINT,
    attempts      BIGINT NOT NULL,
    queued_at     BIGINT NOT NULL,
    not_before    BIGINT NOT NULL,
    -- From when on it was to go, whatever its attempts gave: what stands in for it counts from here.
    due_at        BIGINT NOT NULL,
    deadline      BIGINT NOT NULL,
    started_at    BIGINT,
    unknown_since BIGINT,
    finished_at   BIGINT,
    -- Called off while an attempt was under way: what comes back of it unsent goes no more.
    recalled_at   BIGINT,
    -- An account that stands in for it has published: what comes back unsent of an attempt begun before goes no more.
    replaced_at   BIGINT,
    replaced_by   TEXT,
    remote_id     TEXT,
    receipt       TEXT,
    error         TEXT,
    CHECK ((urgency IS NOT NULL) = (state IN ('queued', 'sending', 'unknown')))
);
CREATE INDEX delivery_lane ON delivery (account, mode, urgency, seq) WHERE urgency IS NOT NULL;
CREATE INDEX delivery_open ON delivery (broadcast, purpose) WHERE urgency IS NOT NULL;
-- A broadcast to a list may have a million deliveries, one after the other per account; what is no list is found apart.
CREATE INDEX delivery_of_broadcast ON delivery (broadcast, account, seq);
CREATE INDEX delivery_single ON delivery (broadcast, seq) WHERE recipient = '';
CREATE INDEX delivery_extra ON delivery (broadcast, seq) WHERE purpose <> 'publish';
CREATE INDEX delivery_trouble ON delivery (broadcast, account, seq)
    WHERE state IN ('refused', 'unknown', 'held', 'manual', 'expired');
CREATE INDEX delivery_stand_in ON delivery (broadcast) WHERE target IS NOT NULL AND urgency IS NOT NULL;
CREATE INDEX delivery_target ON delivery (target) WHERE target IS NOT NULL;
CREATE INDEX delivery_of_alert ON delivery (alert, account, recipient);
-- Which posts are whose, where the service gave them ids of its own. An index is a page to write for every delivery.
CREATE INDEX delivery_remote ON delivery (account, finished_at) WHERE remote_id IS NOT NULL AND remote_id <> id;

-- Which delivery stands in for which: it goes once one of them will not get out, or has taken longer than `wait`
-- microseconds. A primary that is kept goes as well when its stand-in has published.
CREATE TABLE stand_in (
    delivery TEXT NOT NULL,
    target   TEXT NOT NULL,
    wait     BIGINT NOT NULL,
    keeps    BIGINT NOT NULL,
    PRIMARY KEY (delivery, target)
) /*sqlite WITHOUT ROWID*/;
CREATE INDEX stand_in_target ON stand_in (target);

CREATE TABLE attempt (
    delivery    TEXT NOT NULL,
    number      BIGINT NOT NULL,
    account     TEXT NOT NULL,
    mode        TEXT NOT NULL,
    started_at  BIGINT NOT NULL,
    finished_at BIGINT,
    outcome     TEXT CHECK (outcome IN ('published', 'not-sent', 'busy', 'credential', 'refused', 'unknown')),
    error       TEXT,
    PRIMARY KEY (delivery, number)
) /*sqlite WITHOUT ROWID*/;
CREATE INDEX attempt_of_lane ON attempt (account, mode, started_at);

-- What an attempt of several steps has done, each on disk before the next begins.
CREATE TABLE step (
    delivery TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (delivery, name)
) /*sqlite WITHOUT ROWID*/;

-- What services tell later of messages that they took, and how many of each account have come how far.
CREATE TABLE arrival (
    delivery TEXT PRIMARY KEY,
    state    TEXT NOT NULL CHECK (state IN ('sent', 'delivered', 'failed')),
    at       BIGINT NOT NULL
) /*sqlite WITHOUT ROWID*/;
CREATE TABLE arrivals (
    broadcast TEXT NOT NULL,
    account   TEXT NOT NULL,
    state     TEXT NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (broadcast, account, state)
) /*sqlite WITHOUT ROWID*/;

CREATE TABLE lane (
    account    TEXT NOT NULL,
    mode       TEXT NOT NULL CHECK (mode IN ('live', 'drill', 'test')),
    epoch      BIGINT NOT NULL,
    owner      TEXT,
    held_until BIGINT NOT NULL,
    busy_until BIGINT,
    open_until BIGINT,
    failures   BIGINT NOT NULL,
    reason     TEXT,
    PRIMARY KEY (account, mode)
);

-- Who gets nothing more: a service said that the address has ended, or a person did. An empty account means all of them.
CREATE TABLE suppression (
    recipient TEXT NOT NULL,
    account   TEXT NOT NULL,
    at        BIGINT NOT NULL,
    reason    TEXT NOT NULL,
    PRIMARY KEY (recipient, account)
);
CREATE INDEX suppression_at ON suppression (at);

-- How many recipients of a broadcast stand how on an account: kept with each step, so that nobody has to count a million
-- rows. `standby` and `spared` are those who stand in for another account and had nothing to do so far, or at all.
CREATE TABLE tally (
    broadcast TEXT NOT NULL,
    account   TEXT NOT NULL,
    state     TEXT NOT NULL,
    n         BIGINT NOT NULL,
    -- When the latest of them came to rest; 0 if none has.
    latest    BIGINT NOT NULL,
    PRIMARY KEY (broadcast, account, state)
) /*sqlite WITHOUT ROWID*/;

-- A list whose recipients are on their way: read from its files when a command uses it, gone when the last expansion
-- that uses it has ended.
CREATE TABLE recipient_list (
    id TEXT PRIMARY KEY,
    -- When it was last written to; 0 once a command has been accepted with it.
    at BIGINT NOT NULL
);
-- Its recipients, a JSON array of at most 512 addresses in each.
CREATE TABLE recipient_chunk (
    list   TEXT NOT NULL,
    number BIGINT NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (list, number)
);

-- A list on its way into deliveries: what is the same for all of them, how far it has come, and what became of it.
CREATE TABLE expansion (
    id            BIGINT PRIMARY KEY,
    broadcast     TEXT NOT NULL REFERENCES broadcast (id),
    alert         TEXT NOT NULL,
    kind          TEXT NOT NULL,
    mode          TEXT NOT NULL,
    account       TEXT NOT NULL,
    channel       TEXT NOT NULL,
    proof         TEXT NOT NULL,
    -- The accounts that it stands in for, and on which terms: a JSON array.
    stands_in_for TEXT,
    rendering     BIGINT NOT NULL,
    alternative   BIGINT,
    queued_at     BIGINT NOT NULL,
    not_before    BIGINT NOT NULL,
    deadline      BIGINT NOT NULL,
    list          TEXT NOT NULL,
    -- SHA-256 over the addresses, a line each: which list it was, long after its recipients are gone.
    digest        TEXT NOT NULL,
    chunks        BIGINT NOT NULL,
    -- The next chunk; moves in the same commit as the deliveries of the one before.
    next          BIGINT NOT NULL,
    entries       BIGINT NOT NULL,
    taken         BIGINT NOT NULL,
    made          BIGINT NOT NULL,
    repeated      BIGINT NOT NULL,
    suppressed    BIGINT NOT NULL,
    unpaired      BIGINT NOT NULL,
    faults        BIGINT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN
                  ('open', 'held', 'done', 'expired', 'superseded', 'cancelled', 'failed')),
    finished_at   BIGINT,
    error         TEXT
);
CREATE INDEX expansion_open ON expansion (next, id) WHERE state = 'open';
CREATE INDEX expansion_of_broadcast ON expansion (broadcast, id);
CREATE INDEX expansion_of_alert ON expansion (alert, account);
CREATE INDEX expansion_of_list ON expansion (list);

CREATE TABLE idempotency (
    name      TEXT PRIMARY KEY,
    digest    TEXT NOT NULL,
    alert     TEXT NOT NULL,
    broadcast TEXT NOT NULL,
    at        BIGINT NOT NULL
);

CREATE TABLE journal (
    seq       BIGINT PRIMARY KEY,
    at        BIGINT NOT NULL,
    actor     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    broadcast TEXT,
    delivery  TEXT,
    body      TEXT NOT NULL,
    hash      TEXT NOT NULL
);
CREATE INDEX journal_start ON journal (seq) WHERE kind = 'start';
CREATE INDEX journal_of_broadcast ON journal (broadcast, seq) WHERE broadcast IS NOT NULL;

-- The end of the journal's chain, one row. On PostgreSQL its row lock is what lets one writer in at a time.
CREATE TABLE chain (
    id   BIGINT PRIMARY KEY,
    seq  BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO chain (id, seq, hash)
VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');
