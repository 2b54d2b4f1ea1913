-- What was known, when a broadcast was accepted, of accounts that had not answered before: who takes over at once.
CREATE TABLE unreachable_before (
    broadcast TEXT NOT NULL REFERENCES broadcast (id),
    account   TEXT NOT NULL,
    -- Since when, why, who takes over: JSON, as it was told.
    body      TEXT NOT NULL,
    PRIMARY KEY (broadcast, account)
);

-- Up to when the times of a schedule have been dealt with, and which of them is being carried out, by which node.
CREATE TABLE schedule_seen (
    name       TEXT PRIMARY KEY,
    schedule   TEXT NOT NULL,
    seen_at    BIGINT NOT NULL,
    running_at BIGINT,
    owner      TEXT
);
