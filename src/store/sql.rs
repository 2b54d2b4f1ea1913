//! Every SQL text, the same for both engines.

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $($text:expr),+;)+) => {
        $($(#[$doc])* pub(in crate::store) const $name: &str = concat!($($text),+);)+

        /// All single statements here, for the test that prepares them on both engines.
        pub(in crate::store::sql) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

macro_rules! delivery_columns {
    () => {
        "d.id, d.alert, d.broadcast, d.kind, d.mode, d.account, d.channel, d.recipient, d.purpose, d.target, d.state, \
         d.attempts, d.proof, d.queued_at, d.not_before, d.deadline, d.started_at, d.unknown_since, d.finished_at, \
         d.receipt, d.error, d.stands_in_for, COALESCE(d.alternative, d.rendering)"
    };
}

// By the number of the broadcast, not the order of acceptance: a long list becomes deliveries after its acceptance. What
// stands in for another account counts once it has been tried.
macro_rules! newer {
    () => {
        "n.alert = d.alert AND n.account = d.account AND n.recipient = d.recipient AND n.broadcast <> d.broadcast \
         AND nb.number > b.number AND n.purpose IN ('publish', 'edit') AND n.state NOT IN ('superseded', 'cancelled') \
         AND (n.purpose = 'edit' OR n.target IS NULL OR n.attempts > 0)"
    };
}

macro_rules! head_columns {
    () => {
        concat!(
            delivery_columns!(),
            ", b.number, b.valid_until, t.receipt, t.state, \
             CAST(CASE WHEN d.purpose = 'publish' AND EXISTS (SELECT 1 FROM delivery n \
             JOIN broadcast nb ON nb.id = n.broadcast WHERE ",
            newer!(),
            ") THEN 1 ELSE 0 END AS BIGINT), b.mode"
        )
    };
}

macro_rules! broadcast_columns {
    () => {
        "alert, id, kind, mode, message, headline, actor, accepted_at, valid_until, finished_at"
    };
}

macro_rules! expansion_columns {
    () => {
        "id, broadcast, alert, kind, mode, account, channel, proof, stands_in_for, rendering, alternative, queued_at, \
         not_before, deadline, list, digest, chunks, next, entries, taken, made, repeated, suppressed, unpaired, faults, \
         state, finished_at, error"
    };
}

macro_rules! step_columns {
    () => {
        step_columns!("delivery d ")
    };
    ($from:expr) => {
        concat!(
            "SELECT d.id, d.broadcast, d.kind, d.mode, d.account, d.recipient, d.purpose, d.target, d.state, \
             d.attempts, d.started_at, d.unknown_since, d.finished_at, l.epoch, d.recalled_at, \
             d.stands_in_for, d.due_at, d.replaced_at, d.replaced_by FROM ",
            $from,
            "LEFT JOIN lane l ON l.account = d.account AND l.mode = d.mode "
        )
    };
}

macro_rules! chain {
    () => {
        "SELECT seq, hash FROM chain WHERE id = 1"
    };
}

macro_rules! chain_move {
    () => {
        "UPDATE chain SET seq = $1, hash = $2 WHERE id = 1"
    };
}

// After the macros that it uses.
mod conditions;
mod drills;
mod lists;
mod mails;
mod recall;
mod register;
mod rows;

pub(super) use conditions::*;
pub(super) use drills::*;
pub(super) use lists::*;
pub(super) use mails::*;
pub(super) use recall::*;
pub(super) use register::*;
pub(super) use rows::Placeholders;
use rows::{AMONG_MOST, Among, I, Many, T};

statements! {
    CHAIN = chain!();
    CHAIN_MOVE = chain_move!();
    META = "SELECT value FROM meta WHERE name = $1";
    META_SET = "INSERT INTO meta (name, value) VALUES ($1, $2) \
                ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    SWITCHES = "SELECT name, value FROM meta WHERE name LIKE 'off:%' ORDER BY name";
    META_CLEAR = "DELETE FROM meta WHERE name = $1";
    COUNT = "INSERT INTO counter (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value RETURNING value";

    SUPPRESS = "INSERT INTO suppression (recipient, account, at, reason) VALUES ($1, $2, $3, $4) \
                ON CONFLICT (recipient, account) DO NOTHING";
    RESTORE = "DELETE FROM suppression WHERE recipient = $1";
    RESTORE_FOR = "DELETE FROM suppression WHERE recipient = $1 AND account = $2 AND reason = $3";
    SUPPRESSIONS = "SELECT recipient, account, at, reason FROM suppression ORDER BY at DESC, recipient LIMIT $1";

    REPEATED = "SELECT digest, alert, broadcast FROM idempotency WHERE name = $1";
    PICTURE_NEW = "INSERT INTO picture (sha256, media_type, body, kept_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (sha256) DO NOTHING";
    PICTURE = "SELECT body FROM picture WHERE sha256 = $1";
    REMEMBER = "INSERT INTO idempotency (name, digest, alert, broadcast, at) VALUES ($1, $2, $3, $4, $5)";
    FORGET = "DELETE FROM idempotency WHERE at < $1";
    ALERT_FOR_UPDATE = "SELECT mode, state, broadcasts FROM alert WHERE id = $1";
    ALERT_NEW = "INSERT INTO alert (id, mode, state, broadcasts) VALUES ($1, $2, $3, $4)";
    ALERT_STEP = "UPDATE alert SET broadcasts = $2, state = $3 WHERE id = $1";
    BROADCAST_NEW = "INSERT INTO broadcast (id, seq, alert, number, kind, mode, message, message_version, headline, \
                     actor, accepted_at, valid_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    BROADCAST_FINISH = "UPDATE broadcast SET finished_at = $2 WHERE id = $1 AND finished_at IS NULL AND NOT EXISTS \
                        (SELECT 1 FROM delivery d WHERE d.broadcast = $1 AND d.urgency IS NOT NULL \
                        AND d.purpose NOT LIKE 'confirm-%') AND NOT EXISTS \
                        (SELECT 1 FROM expansion e WHERE e.broadcast = $1 AND e.state = 'open')";
    LANES_OF_BROADCAST = "SELECT DISTINCT account, mode FROM delivery \
                          WHERE broadcast = $1 AND urgency IS NOT NULL ORDER BY account";
    EXTRAS_OF_BROADCAST = "SELECT account, recipient, purpose, target, state FROM delivery \
                           WHERE broadcast = $1 AND purpose <> 'publish'";

    LANE_RENEW = "UPDATE lane SET held_until = $5 WHERE account = $1 AND mode = $2 AND epoch = $3 AND owner = $4";
    LANES_INHERIT = "UPDATE lane SET epoch = epoch + 1, owner = $2, held_until = $3 \
                     WHERE owner LIKE $1 AND owner <> $2 AND held_until > $4";
    LATEST_RECORD = "SELECT at FROM journal ORDER BY seq DESC LIMIT 1";
    SET_BACK_DELIVERIES = "UPDATE delivery SET not_before = not_before - $1, due_at = due_at - $1 \
                           WHERE urgency IS NOT NULL AND (not_before > $2 OR due_at > $2) AND NOT EXISTS \
                           (SELECT 1 FROM lane l WHERE l.account = delivery.account AND l.mode = delivery.mode \
                           AND l.owner NOT LIKE $3 AND l.held_until > $2)";
    SET_BACK_LANES = "UPDATE lane SET busy_until = busy_until - $1, open_until = open_until - $1 \
                      WHERE (busy_until > $2 OR open_until > $2) \
                      AND (owner IS NULL OR owner LIKE $3 OR held_until <= $2)";
    LANE_NOTE = "UPDATE lane SET busy_until = $4, open_until = $5, failures = $6, reason = $7 \
                 WHERE account = $1 AND mode = $2 AND epoch = $3";
    /// What stands in for another account waits on: it goes only if that one does not get out.
    RELEASE = "UPDATE delivery SET not_before = $2, due_at = $2 WHERE broadcast = $1 AND (purpose IN ('edit', 'pin', 'unpin') \
               OR (purpose = 'publish' AND target IS NULL)) AND urgency IS NOT NULL AND state = 'queued' \
               AND attempts = 0 AND not_before > $2";
    /// Also of those that stand in: it is the time of whom they go to on their own.
    RELEASE_LISTS = "UPDATE expansion SET not_before = $2 WHERE broadcast = $1 \
                     AND state IN ('open', 'held') AND not_before > $2";
    RELEASE_LISTS_TEXT = "UPDATE expansion SET alternative = NULL WHERE broadcast = $1 AND alternative IS NOT NULL \
                          AND state IN ('open', 'held')";
    /// Also what was tried before, or waits for a person: nothing of it has got out with the other link.
    RELEASE_TEXT = "UPDATE delivery SET alternative = NULL WHERE broadcast = $1 AND alternative IS NOT NULL \
                    AND state IN ('queued', 'held', 'manual', 'refused') AND unknown_since IS NULL";
    STEP_MADE = "INSERT INTO step (delivery, name, value, at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (delivery, name) DO UPDATE SET value = excluded.value, at = excluded.at";
    ARRIVAL_OF = "SELECT d.broadcast, d.account, d.state, a.state, a.remote_id, a.reason FROM delivery d \
                  LEFT JOIN arrival a ON a.delivery = d.id WHERE d.id = $1";
    ARRIVAL_SET = "INSERT INTO arrival (delivery, state, at, remote_id, reason) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (delivery) DO UPDATE SET state = excluded.state, at = excluded.at, \
                   remote_id = excluded.remote_id, reason = excluded.reason";
    ARRIVALS_COUNT = "INSERT INTO arrivals (broadcast, account, state, count) VALUES ($1, $2, $3, $4) \
                      ON CONFLICT (broadcast, account, state) DO UPDATE SET count = arrivals.count + excluded.count";
    ARRIVALS = "SELECT account, state, count FROM arrivals WHERE broadcast = $1 ORDER BY account, state";
    LANES_FREE = "UPDATE lane SET owner = NULL, held_until = 0";
    ALL_OPEN = step_columns!(), "WHERE d.urgency IS NOT NULL ORDER BY d.seq";
    ONE_STEP = step_columns!(), "WHERE d.id = $1";

    OPEN_LANES = "SELECT DISTINCT account, mode FROM delivery WHERE urgency IS NOT NULL ORDER BY account, mode";
    /// The newest broadcast that overtakes a delivery.
    NEWER = "SELECT n.broadcast FROM delivery n JOIN broadcast nb ON nb.id = n.broadcast, delivery d \
             JOIN broadcast b ON b.id = d.broadcast WHERE d.id = $1 AND ", newer!(), " ORDER BY nb.number DESC LIMIT 1";
    HEAD = "SELECT ", head_columns!(), " FROM delivery d \
            JOIN broadcast b ON b.id = d.broadcast LEFT JOIN delivery t ON t.id = d.target \
            WHERE d.account = $1 AND d.mode = $2 AND d.urgency IS NOT NULL ORDER BY d.urgency, d.seq LIMIT $3";
    TAKEN = "SELECT remote_id FROM delivery WHERE account = $1 AND remote_id IS NOT NULL AND remote_id <> id \
             AND id <> $2 AND finished_at >= $3 ORDER BY finished_at DESC LIMIT $4";
    STANDING = "SELECT account, id, purpose, target FROM delivery WHERE alert = $1 AND recipient = '' AND \
                ((purpose = 'publish' AND state IN ('published', 'edited')) OR \
                (purpose IN ('pin', 'unpin') AND state IN ('queued', 'sending', 'unknown', 'published'))) ORDER BY seq";
    IS_OPEN = "SELECT id FROM delivery WHERE broadcast = $1 AND urgency IS NOT NULL \
               AND purpose NOT LIKE 'confirm-%' LIMIT 1";
    IS_EXPANDING = "SELECT id FROM expansion WHERE broadcast = $1 AND state = 'open' LIMIT 1";
    TOLD = "SELECT DISTINCT purpose FROM delivery WHERE broadcast = $1 AND purpose <> 'publish' \
            AND purpose IN ('confirm-hand-over', 'confirm-interim', 'confirm-final')";
    UNREACHABLE_BEFORE_NEW = "INSERT INTO unreachable_before (broadcast, account, body) VALUES ($1, $2, $3)";
    UNREACHABLE_BEFORE = "SELECT body FROM unreachable_before WHERE broadcast = $1 ORDER BY account";
    /// What a person reported done by hand says nothing of the account.
    OUT_SINCE = "SELECT id FROM delivery WHERE account = $1 AND remote_id IS NOT NULL AND finished_at >= $3 \
                 AND mode = $2 AND remote_id <> 'by-hand' LIMIT 1";
    UNFINISHED = "SELECT ", broadcast_columns!(), " FROM broadcast WHERE finished_at IS NULL ORDER BY seq";
    BROADCAST = "SELECT ", broadcast_columns!(), " FROM broadcast WHERE id = $1";
    BROADCASTS = "SELECT ", broadcast_columns!(), " FROM broadcast ORDER BY seq DESC LIMIT $1";
    RECENT = "SELECT id, kind, accepted_at FROM broadcast WHERE mode = 'live' AND accepted_at >= $1 \
              ORDER BY seq DESC LIMIT $2";
    RECENT_TEXTS = "SELECT body FROM rendering WHERE broadcast = $1 ORDER BY id LIMIT $2";
    RECENT_ACCOUNTS = "SELECT account FROM delivery WHERE broadcast = $1 AND recipient = '' AND purpose = 'publish' \
                       AND target IS NULL \
                       AND state NOT IN ('refused', 'cancelled', 'expired', 'superseded', 'retracted') \
                       UNION SELECT account FROM tally WHERE broadcast = $1 AND n > 0 AND state NOT IN \
                       ('refused', 'cancelled', 'expired', 'superseded', 'retracted', 'standby', 'spared') \
                       UNION SELECT account FROM expansion WHERE broadcast = $1 AND stands_in_for IS NULL \
                       AND state IN ('open', 'held')";
    BROADCASTS_OF_ALERT = "SELECT ", broadcast_columns!(), " FROM broadcast WHERE alert = $1 ORDER BY number";
    ALERT = "SELECT id, mode, state FROM alert WHERE id = $1";
    DELIVERIES = "SELECT ", delivery_columns!(), " FROM delivery d WHERE d.broadcast = $1 ORDER BY d.seq";
    SINGLES = "SELECT ", delivery_columns!(), ", d.seq FROM delivery d WHERE d.broadcast = $1 AND d.recipient = '' \
               ORDER BY d.seq";
    EXTRAS = "SELECT ", delivery_columns!(), ", d.seq FROM delivery d WHERE d.broadcast = $1 AND d.purpose <> 'publish' \
              AND d.recipient <> '' ORDER BY d.seq LIMIT $2";
    LISTED = "SELECT ", delivery_columns!(), ", d.seq FROM delivery d WHERE d.broadcast = $1 AND d.account = $2 \
              AND d.seq > $3 AND d.recipient <> '' AND d.purpose = 'publish' ORDER BY d.seq LIMIT $4";
    TROUBLED = "SELECT ", delivery_columns!(), ", d.seq FROM delivery d WHERE d.broadcast = $1 AND d.account = $2 \
                AND d.state IN ('refused', 'unknown', 'held', 'manual', 'expired') \
                AND d.recipient <> '' AND d.purpose = 'publish' ORDER BY d.seq LIMIT $3";
    TALLY = "SELECT account, state, n, latest FROM tally WHERE broadcast = $1 AND n <> 0 ORDER BY account";
    ACCOUNTS_OF = "SELECT DISTINCT account FROM tally WHERE broadcast = $1 ORDER BY account";
    STAND_INS = "SELECT DISTINCT d.account, d.mode FROM delivery d JOIN stand_in s ON s.delivery = d.id \
                 JOIN delivery t ON t.id = s.target WHERE d.broadcast = $1 AND d.target IS NOT NULL \
                 AND d.urgency IS NOT NULL AND d.purpose = 'publish' \
                 AND d.state = 'queued' AND d.attempts = 0 AND t.urgency IS NULL";
    HAS_STAND_INS = "SELECT id FROM delivery WHERE broadcast = $1 AND target IS NOT NULL AND urgency IS NOT NULL \
                     AND purpose = 'publish' AND state = 'queued' LIMIT 1";
    EXPANDS_STAND_INS = "SELECT id FROM expansion WHERE broadcast = $1 AND stands_in_for IS NOT NULL \
                         AND state IN ('open', 'held') LIMIT 1";
    /// What stands in counts from its first attempt on for those that stand in for it.
    STAND_IN_BEGINS = "UPDATE delivery SET due_at = $2 WHERE id = $1";
    STAND_IN_ENDS = "SELECT target, wait, keeps FROM stand_in WHERE delivery = $1 ORDER BY target";
    REPLACE = "UPDATE delivery SET replaced_at = $2, replaced_by = $3 WHERE id = $1";
    REPLACE_NOT = "UPDATE delivery SET replaced_at = NULL, replaced_by = NULL WHERE id = $1";
    /// Accounts that stood in for others in an alert, and whose post stands or may.
    STOOD_IN = "SELECT DISTINCT account FROM delivery WHERE alert = $1 AND recipient = '' AND purpose = 'publish' \
                AND stands_in_for IS NOT NULL AND state IN ('sending', 'unknown', 'published', 'edited') \
                ORDER BY account";
    IS_DELIVERY = "SELECT account FROM delivery WHERE id = $1";
    EXPANSION_SERVES = "UPDATE expansion SET stands_in_for = $2 WHERE id = $1";
    /// Accounts of a broadcast that stand ready, and for which.
    RECALL_STAND_INS = "SELECT DISTINCT d.account, t.account FROM delivery d JOIN stand_in s ON s.delivery = d.id \
                        JOIN delivery t ON t.id = s.target WHERE d.broadcast = $1 AND d.mode = $2 \
                        AND d.target IS NOT NULL AND d.urgency IS NOT NULL AND d.purpose = 'publish'";

    LIST_TOUCH = "INSERT INTO recipient_list (id, at) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
    LIST_CHUNKS = "SELECT COUNT(*) FROM recipient_chunk WHERE list = $1";
    LIST_UNUSED = "SELECT l.id FROM recipient_list l WHERE l.at < $1 AND NOT EXISTS (SELECT 1 FROM expansion e \
                   WHERE e.list = l.id AND e.state IN ('open', 'held')) LIMIT 1";
    LIST_ANY = "SELECT id FROM recipient_list LIMIT 1";
    LIST_FIRST = "SELECT MIN(number) FROM recipient_chunk WHERE list = $1";
    LIST_FORGET = "DELETE FROM recipient_chunk WHERE list = $1 AND number < $2";
    LIST_GONE = "DELETE FROM recipient_list WHERE id = $1";
    CHUNK = "SELECT body FROM recipient_chunk WHERE list = $1 AND number = $2";
    LANE_OPEN = "SELECT COUNT(*) FROM delivery WHERE account = $1 AND mode = $2 AND urgency IS NOT NULL";
    EXPANSIONS_OPEN = "SELECT ", expansion_columns!(), " FROM expansion WHERE state = 'open' ORDER BY next, id";
    EXPANSIONS = "SELECT ", expansion_columns!(), " FROM expansion WHERE broadcast = $1 ORDER BY id";
    EXPANSIONS_OF_ALERT = "SELECT ", expansion_columns!(), " FROM expansion WHERE alert = $1 \
                           AND state IN ('open', 'held') ORDER BY id";
    EXPANSIONS_UNFINISHED = "SELECT ", expansion_columns!(), " FROM expansion WHERE state IN ('open', 'held') ORDER BY id";
    EXPANSION_STEP = "UPDATE expansion SET next = $2, taken = $3, made = $4, repeated = $5, suppressed = $6, \
                      unpaired = $7 WHERE id = $1";
    EXPANSION_STATE = "UPDATE expansion SET state = $2, finished_at = $3, error = $4 WHERE id = $1";

    EXTENT = "SELECT account, channel, CAST(CASE WHEN recipient = '' THEN 0 ELSE 1 END AS BIGINT), state, \
              CAST(CASE WHEN purpose = 'publish' AND target IS NOT NULL AND attempts = 0 \
              AND state IN ('queued', 'cancelled', 'superseded') THEN 1 ELSE 0 END AS BIGINT), \
              CAST(CASE WHEN unknown_since IS NOT NULL \
              AND state IN ('queued', 'refused', 'held', 'manual', 'expired', 'superseded') THEN 1 ELSE 0 END AS BIGINT), \
              CAST(CASE WHEN stands_in_for IS NULL THEN 0 ELSE 1 END AS BIGINT), COUNT(*), MIN(id) FROM delivery \
              WHERE broadcast = $1 AND purpose IN ('publish', 'edit') \
              GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY MIN(seq)";
    WORDS_OF = "SELECT id, state FROM delivery WHERE broadcast = $1 AND recipient = '' AND purpose IN ('publish', 'edit')";
    LATEST_EDIT = "SELECT id FROM delivery WHERE alert = $1 AND target = $2 AND purpose = 'edit' \
                   AND state = 'published' ORDER BY seq DESC LIMIT 1";
    DELIVERY = "SELECT ", delivery_columns!(), " FROM delivery d WHERE d.id = $1";
    RENDERING = "SELECT r.body FROM delivery d JOIN rendering r ON r.id = COALESCE(d.alternative, d.rendering) \
                 WHERE d.id = $1";
    FIRST_RENDERING = "SELECT body FROM rendering WHERE broadcast = $1 ORDER BY id LIMIT 1";
    ATTEMPTS = "SELECT number, started_at, finished_at, outcome, error FROM attempt WHERE delivery = $1 \
                ORDER BY number";
    CONFIRMATIONS = "SELECT d.state, COUNT(*) FROM broadcast b JOIN delivery d ON d.broadcast = b.id \
                     AND d.purpose <> 'publish' AND d.purpose IN ('confirm-hand-over', 'confirm-interim', 'confirm-final', 'confirm-closing') \
                     WHERE b.finished_at IS NULL OR b.accepted_at >= $1 GROUP BY d.state";
    COUNTS = "SELECT x.mode, x.state, CAST(SUM(x.n) AS BIGINT) FROM (\
              SELECT d.mode AS mode, d.state AS state, COUNT(*) AS n FROM broadcast b JOIN delivery d \
              ON d.broadcast = b.id AND d.recipient = '' \
              WHERE b.finished_at IS NULL OR b.accepted_at >= $1 GROUP BY d.mode, d.state \
              UNION ALL SELECT d.mode, d.state, COUNT(*) FROM broadcast b JOIN delivery d \
              ON d.broadcast = b.id AND d.purpose <> 'publish' AND d.recipient <> '' \
              WHERE b.finished_at IS NULL OR b.accepted_at >= $1 GROUP BY d.mode, d.state \
              UNION ALL SELECT b.mode, CASE t.state WHEN 'standby' THEN 'queued' WHEN 'spared' THEN 'cancelled' \
              ELSE t.state END, t.n FROM broadcast b JOIN tally t ON t.broadcast = b.id \
              WHERE b.finished_at IS NULL OR b.accepted_at >= $1) x \
              GROUP BY x.mode, x.state ORDER BY x.mode, x.state";
    LAST_START = "SELECT body FROM journal WHERE kind = 'start' ORDER BY seq DESC LIMIT 1";
    JOURNAL = "SELECT seq, at, actor, kind, broadcast, delivery, body, hash FROM journal WHERE seq > $1 \
               ORDER BY seq LIMIT $2";
    JOURNAL_OF_BROADCAST = "SELECT seq, at, actor, kind, broadcast, delivery, body, hash FROM journal \
                            WHERE broadcast = $3 AND seq > $1 ORDER BY seq LIMIT $2";
}

/// The lock that lets one writer in at a time on PostgreSQL; SQLite has its own.
pub(super) const CHAIN_LOCK_PG: &str = "SELECT seq, hash FROM chain WHERE id = 1 FOR UPDATE";

/// The same on SQLite in one trip to its thread: its lock, and the end of the chain.
pub(super) const BEGIN_LITE: &str = concat!("BEGIN IMMEDIATE; ", chain!());

/// The new end of the chain, and the commit.
pub(super) const COMMIT_LITE: &str = concat!(chain_move!(), "; COMMIT");

/// What a PostgreSQL database is known by: a dump restored elsewhere differs.
pub(super) const PG_IDENTITY: &str = "SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || \
     (SELECT oid FROM pg_database WHERE datname = current_database())::text";

macro_rules! lanes_make {
    () => {
        "account, mode, epoch, held_until, failures"
    };
}

pub(super) static LANES_MAKE: Many = Many {
    name: "LANES_MAKE",
    before: concat!("WITH v (", lanes_make!(), ") AS (VALUES "),
    columns: &[T, T, I, I, I],
    after: concat!(
        ") INSERT INTO lane (",
        lanes_make!(),
        ") SELECT ",
        lanes_make!(),
        " FROM v WHERE account IS NOT NULL ON CONFLICT DO NOTHING"
    ),
    most: 128,
};

pub(super) static LANES_READ: Many = Many {
    name: "LANES_READ",
    before: "WITH v (account, mode) AS (VALUES ",
    columns: &[T; 2],
    after: ") SELECT l.account, l.mode, l.epoch, l.owner, l.held_until, l.busy_until, l.open_until, l.failures, \
            l.reason FROM v JOIN lane l ON l.account = v.account AND l.mode = v.mode",
    most: 128,
};

pub(super) static LANES_TAKE: Many = Many {
    name: "LANES_TAKE",
    before: "WITH v (account, mode, epoch, owner, held_until) AS (VALUES ",
    columns: &[T, T, I, T, I],
    after: ") UPDATE lane SET epoch = v.epoch, owner = v.owner, held_until = v.held_until FROM v \
            WHERE lane.account = v.account AND lane.mode = v.mode",
    most: 128,
};

/// The latest 200 attempts of each lane (more if several began at once), newest first.
pub(super) static LANES_ATTEMPTS: Many = Many {
    name: "LANES_ATTEMPTS",
    before: "WITH v (account, mode) AS (VALUES ",
    columns: &[T; 2],
    after: ") SELECT a.account, a.mode, a.started_at FROM v JOIN attempt a ON a.account = v.account \
            AND a.mode = v.mode AND a.started_at >= COALESCE((SELECT x.started_at FROM attempt x \
            WHERE x.account = v.account AND x.mode = v.mode ORDER BY x.started_at DESC LIMIT 1 OFFSET 199), 0) \
            ORDER BY a.started_at DESC",
    most: 128,
};

/// What stands first in each lane, at most [`super::FIRST`] of each.
pub(super) static LANES_HEAD: Many = Many {
    name: "LANES_HEAD",
    before: "WITH v (account, mode) AS (VALUES ",
    columns: &[T; 2],
    after: concat!(
        ") SELECT ",
        head_columns!(),
        " FROM v CROSS JOIN delivery d JOIN broadcast b ON b.id = d.broadcast \
         LEFT JOIN delivery t ON t.id = d.target WHERE d.id IN (SELECT x.id FROM delivery x \
         WHERE x.account = v.account AND x.mode = v.mode AND x.urgency IS NOT NULL \
         ORDER BY x.urgency, x.seq LIMIT 32) ORDER BY d.account, d.mode, d.urgency, d.seq"
    ),
    most: 128,
};

pub(super) static LANES_CUT_OFF: Many = Many {
    name: "LANES_CUT_OFF",
    before: "WITH v (account, mode) AS (VALUES ",
    columns: &[T; 2],
    after: concat!(
        ") ",
        step_columns!("v JOIN delivery d ON d.account = v.account AND d.mode = v.mode "),
        "WHERE d.urgency IS NOT NULL AND d.state = 'sending' ORDER BY d.seq"
    ),
    most: 128,
};

macro_rules! renderings_new {
    () => {
        "id, broadcast, body"
    };
}

pub(super) static RENDERINGS_NEW: Many = Many {
    name: "RENDERINGS_NEW",
    before: concat!("WITH v (", renderings_new!(), ") AS (VALUES "),
    columns: &[I, T, T],
    after: concat!(
        ") INSERT INTO rendering (",
        renderings_new!(),
        ") SELECT ",
        renderings_new!(),
        " FROM v WHERE id IS NOT NULL"
    ),
    most: 64,
};

macro_rules! deliveries_new {
    () => {
        "id, seq, alert, broadcast, kind, mode, account, channel, recipient, purpose, target, stands_in_for, \
         rendering, alternative, proof, state, urgency, attempts, queued_at, not_before, due_at, deadline, finished_at"
    };
}

pub(super) static DELIVERIES_NEW: Many = Many {
    name: "DELIVERIES_NEW",
    before: concat!("WITH v (", deliveries_new!(), ") AS (VALUES "),
    columns: &[
        T, I, T, T, T, T, T, T, T, T, T, T, I, I, T, T, I, I, I, I, I, I, I,
    ],
    after: concat!(
        ") INSERT INTO delivery (",
        deliveries_new!(),
        ") SELECT ",
        deliveries_new!(),
        " FROM v WHERE id IS NOT NULL"
    ),
    // 11,776 binds: SQLite takes 32,766 and PostgreSQL 65,535.
    most: 512,
};

pub(super) static DELIVERIES_STEP: Many = Many {
    name: "DELIVERIES_STEP",
    before: "WITH v (id, was, state, urgency, attempts, not_before, started_at, unknown_since, finished_at, \
             receipt, remote_id, error) AS (VALUES ",
    columns: &[T, T, T, I, I, I, I, I, I, T, T, T],
    after: ") UPDATE delivery SET state = v.state, urgency = v.urgency, attempts = v.attempts, \
            not_before = COALESCE(v.not_before, delivery.not_before), started_at = v.started_at, \
            unknown_since = v.unknown_since, finished_at = v.finished_at, \
            receipt = COALESCE(v.receipt, delivery.receipt), remote_id = COALESCE(v.remote_id, delivery.remote_id), \
            error = v.error FROM v WHERE delivery.id = v.id AND delivery.state = v.was",
    most: 512,
};

macro_rules! stand_ins_new {
    () => {
        "delivery, target, wait, keeps"
    };
}

pub(super) static STAND_INS_NEW: Many = Many {
    name: "STAND_INS_NEW",
    before: concat!("WITH v (", stand_ins_new!(), ") AS (VALUES "),
    columns: &[T, T, I, I],
    after: concat!(
        ") INSERT INTO stand_in (",
        stand_ins_new!(),
        ") SELECT ",
        stand_ins_new!(),
        " FROM v WHERE delivery IS NOT NULL ON CONFLICT DO NOTHING"
    ),
    most: 512,
};

/// An attempt begins: nothing changes of what an index orders by, so no index is written.
pub(super) static DELIVERIES_BEGIN: Many = Many {
    name: "DELIVERIES_BEGIN",
    before: "WITH v (id, was, state, attempts, started_at, error) AS (VALUES ",
    columns: &[T, T, T, I, I, T],
    after: ") UPDATE delivery SET state = v.state, attempts = v.attempts, started_at = v.started_at, error = v.error \
            FROM v WHERE delivery.id = v.id AND delivery.state = v.was",
    most: 512,
};

macro_rules! attempts_start {
    () => {
        "delivery, number, account, mode, started_at"
    };
}

pub(super) static ATTEMPTS_START: Many = Many {
    name: "ATTEMPTS_START",
    before: concat!("WITH v (", attempts_start!(), ") AS (VALUES "),
    columns: &[T, I, T, T, I],
    after: concat!(
        ") INSERT INTO attempt (",
        attempts_start!(),
        ") SELECT ",
        attempts_start!(),
        " FROM v WHERE delivery IS NOT NULL"
    ),
    most: 512,
};

pub(super) static ATTEMPTS_END: Many = Many {
    name: "ATTEMPTS_END",
    before: "WITH v (delivery, number, finished_at, outcome, error) AS (VALUES ",
    columns: &[T, I, I, T, T],
    after: ") UPDATE attempt SET finished_at = v.finished_at, outcome = v.outcome, error = v.error FROM v \
            WHERE attempt.delivery = v.delivery AND attempt.number = v.number AND attempt.outcome IS NULL",
    most: 512,
};

macro_rules! journal_new {
    () => {
        "seq, at, actor, kind, broadcast, delivery, body, hash"
    };
}

pub(super) static JOURNAL_NEW: Many = Many {
    name: "JOURNAL_NEW",
    before: concat!("WITH v (", journal_new!(), ") AS (VALUES "),
    columns: &[I, I, T, T, T, T, T, T],
    after: concat!(
        ") INSERT INTO journal (",
        journal_new!(),
        ") SELECT ",
        journal_new!(),
        " FROM v WHERE seq IS NOT NULL"
    ),
    most: 512,
};

pub(super) static STEPS: Among = Among {
    name: "STEPS",
    before: concat!(step_columns!(), "WHERE d.id IN "),
    after: "",
    fixed: 0,
};

/// What was reported of these.
pub(super) static REPORTED: Among = Among {
    name: "REPORTED",
    before: "SELECT delivery, state, at, remote_id, reason FROM arrival WHERE delivery IN ",
    after: "",
    fixed: 0,
};

pub(super) static OVERTAKEN: Among = Among {
    name: "OVERTAKEN",
    before: concat!(
        step_columns!(),
        "WHERE d.alert = $1 AND d.recipient = '' AND d.purpose = 'publish' AND d.state IN ('queued', 'held', 'manual') \
         AND d.account IN "
    ),
    after: " ORDER BY d.seq",
    fixed: 1,
};

pub(super) static PROGRESS: Among = Among {
    name: "PROGRESS",
    before: "SELECT delivery, name, value FROM step WHERE delivery IN ",
    after: "",
    fixed: 0,
};

/// What deliveries stand in for, and how that stands.
pub(super) static PRIMARIES: Among = Among {
    name: "PRIMARIES",
    before: "SELECT s.delivery, s.target, s.wait, t.state, t.due_at, t.attempts, \
             CAST(CASE WHEN t.purpose = 'publish' AND t.target IS NOT NULL THEN 1 ELSE 0 END AS BIGINT), \
             COALESCE(t.finished_at, t.started_at), t.error, t.account FROM stand_in s \
             JOIN delivery t ON t.id = s.target WHERE s.delivery IN ",
    after: " ORDER BY s.delivery, s.target",
    fixed: 0,
};

/// What a person was asked to publish because it stands in for these; what a person decided otherwise is not among it. A
/// reason is written with its code first.
pub(super) static STAND_INS_BY_HAND: Among = Among {
    name: "STAND_INS_BY_HAND",
    before: concat!(
        step_columns!(),
        "WHERE d.state = 'manual' AND d.purpose = 'publish' AND d.attempts = 0 \
         AND (d.error LIKE '{\"code\":\"stands-in\"%' OR d.error LIKE '{\"code\":\"unreachable-before\"%') \
         AND d.id IN (SELECT delivery FROM stand_in WHERE target IN "
    ),
    after: ") ORDER BY d.seq",
    fixed: 0,
};

pub(super) static BODIES: Among = Among {
    name: "BODIES",
    before: "SELECT id, body FROM rendering WHERE id IN ",
    after: "",
    fixed: 0,
};

pub(super) static THREADS: Among = Among {
    name: "THREADS",
    before: "SELECT d.id, p.receipt FROM delivery d JOIN delivery p ON p.alert = d.alert AND p.account = d.account \
             AND p.recipient = d.recipient AND p.purpose = 'publish' AND p.state IN ('published', 'edited') \
             AND p.receipt IS NOT NULL AND p.seq < d.seq WHERE d.id IN ",
    after: " ORDER BY p.seq",
    fixed: 0,
};

pub(super) static TARGETS: Among = Among {
    name: "TARGETS",
    before: "SELECT id, COALESCE(alternative, rendering) FROM delivery WHERE id IN ",
    after: "",
    fixed: 0,
};

/// Every text that the store runs on an engine, multi-row ones with one, two and the most rows.
pub(super) fn every(placeholders: Placeholders) -> Vec<(String, String)> {
    let many = [
        &LANES_MAKE,
        &LANES_READ,
        &LANES_TAKE,
        &LANES_ATTEMPTS,
        &LANES_HEAD,
        &LANES_CUT_OFF,
        &RENDERINGS_NEW,
        &DELIVERIES_NEW,
        &DELIVERIES_STEP,
        &DELIVERIES_BEGIN,
        &ATTEMPTS_START,
        &ATTEMPTS_END,
        &JOURNAL_NEW,
        &TALLY_ADD,
        &CHUNKS_NEW,
        &EXPANSIONS_NEW,
        &STAND_INS_NEW,
    ];
    let among = [
        &STEPS,
        &REPORTED,
        &OVERTAKEN,
        &OVERTAKEN_IN_LANE,
        &OVERTAKEN_AT_REST,
        &OVERTAKE_IN_LANE,
        &OVERTAKE_AT_REST,
        &LEFT_OUT,
        &THERE,
        &PAIRS,
        &STAND_INS_OF,
        &PRIMARIES,
        &STAND_INS_BY_HAND,
        &STOOD_IN_FOR,
        &PROGRESS,
        &BODIES,
        &THREADS,
        &TARGETS,
        &RECALL_PAIRS,
        &RECALLED,
        &RECALLED_UNCERTAIN,
        &RECALLED_IN_LANE,
        &RECALLED_AT_REST,
        &RECALL_IN_LANE,
        &RECALL_AT_REST,
        &RECALL_UNDER_WAY,
    ];
    let single = [ALL, conditions::ALL, drills::ALL, mails::ALL, register::ALL]
        .into_iter()
        .flatten()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let many = many.into_iter().flat_map(|m| {
        [1, 2, m.most].map(|n| {
            (
                format!("{}×{n}", m.name),
                m.text(n, placeholders).as_str().to_owned(),
            )
        })
    });
    let among = among.into_iter().flat_map(|a| {
        [1, 2, AMONG_MOST].map(|n| {
            (
                format!("{}×{n}", a.name),
                a.text(n, placeholders).as_str().to_owned(),
            )
        })
    });
    single.chain(many).chain(among).collect()
}
