-- What was known, when a broadcast was accepted, of accounts that had not answered before: who takes over at once.
CREATE TABLE unreachable_before (
    broadcast TEXT NOT NULL REFERENCES broadcast (id),
    account   TEXT NOT NULL,
    -- Since when, why, who takes over: JSON, as it was told.
    body      TEXT NOT NULL,
    PRIMARY KEY (broadcast, account)
);
