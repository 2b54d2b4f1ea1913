//! The statements for lists of recipients: counting, chunks, expansions, who is left out, what is overtaken.

use super::rows::{Among, I, Many, T};

macro_rules! tally_add {
    () => {
        "broadcast, account, state, n, latest"
    };
}

/// Adds to the tally: `latest` only grows.
pub(in crate::store) static TALLY_ADD: Many = Many {
    name: "TALLY_ADD",
    before: concat!("WITH v (", tally_add!(), ") AS (VALUES "),
    columns: &[T, T, T, I, I],
    after: concat!(
        ") INSERT INTO tally (",
        tally_add!(),
        ") SELECT ",
        tally_add!(),
        " FROM v WHERE broadcast IS NOT NULL ON CONFLICT (broadcast, account, state) DO UPDATE SET \
         n = tally.n + excluded.n, \
         latest = CASE WHEN excluded.latest > tally.latest THEN excluded.latest ELSE tally.latest END"
    ),
    most: 128,
};

macro_rules! chunks_new {
    () => {
        "list, number, body"
    };
}

pub(in crate::store) static CHUNKS_NEW: Many = Many {
    name: "CHUNKS_NEW",
    before: concat!("WITH v (", chunks_new!(), ") AS (VALUES "),
    columns: &[T, I, T],
    after: concat!(
        ") INSERT INTO recipient_chunk (",
        chunks_new!(),
        ") SELECT ",
        chunks_new!(),
        " FROM v WHERE list IS NOT NULL"
    ),
    most: 16,
};

pub(in crate::store) static EXPANSIONS_NEW: Many = Many {
    name: "EXPANSIONS_NEW",
    before: concat!("WITH v (", expansion_columns!(), ") AS (VALUES "),
    columns: &[
        I, T, T, T, T, T, T, T, T, I, I, I, I, I, T, T, I, I, I, I, I, I, I, I, I, T, I, T,
    ],
    after: concat!(
        ") INSERT INTO expansion (",
        expansion_columns!(),
        ") SELECT ",
        expansion_columns!(),
        " FROM v WHERE id IS NOT NULL"
    ),
    most: 64,
};

macro_rules! overtaken_in_lane {
    () => {
        "WHERE mode = $2 AND urgency IS NOT NULL AND alert = $1 AND recipient <> '' AND purpose = 'publish' \
         AND state = 'queued' AND account IN "
    };
}

macro_rules! overtaken_at_rest {
    () => {
        "WHERE broadcast IN (SELECT id FROM broadcast WHERE alert = $1 AND mode = $2) \
         AND state IN ('refused', 'unknown', 'held', 'manual', 'expired') AND state IN ('held', 'manual') \
         AND recipient <> '' AND purpose = 'publish' AND account IN "
    };
}

macro_rules! overtaken_count {
    ($which:expr) => {
        concat!(
            "SELECT broadcast, account, state, \
             CAST(CASE WHEN target IS NOT NULL AND attempts = 0 THEN 1 ELSE 0 END AS BIGINT), COUNT(*) FROM delivery ",
            $which
        )
    };
}

macro_rules! overtaken_step {
    ($which:expr) => {
        concat!(
            "UPDATE delivery SET state = 'superseded', urgency = NULL, finished_at = $3, error = NULL ",
            $which
        )
    };
}

const OVERTAKEN_GROUPS: &str =
    " GROUP BY broadcast, account, state, CASE WHEN target IS NOT NULL AND attempts = 0 THEN 1 ELSE 0 END";

/// Recipients that a newer broadcast overtakes: counted, then moved, where they wait and where a person would decide.
pub(in crate::store) static OVERTAKEN_IN_LANE: Among = Among {
    name: "OVERTAKEN_IN_LANE",
    before: overtaken_count!(overtaken_in_lane!()),
    after: OVERTAKEN_GROUPS,
    fixed: 2,
};

pub(in crate::store) static OVERTAKEN_AT_REST: Among = Among {
    name: "OVERTAKEN_AT_REST",
    before: overtaken_count!(overtaken_at_rest!()),
    after: OVERTAKEN_GROUPS,
    fixed: 2,
};

pub(in crate::store) static OVERTAKE_IN_LANE: Among = Among {
    name: "OVERTAKE_IN_LANE",
    before: overtaken_step!(overtaken_in_lane!()),
    after: "",
    fixed: 3,
};

pub(in crate::store) static OVERTAKE_AT_REST: Among = Among {
    name: "OVERTAKE_AT_REST",
    before: overtaken_step!(overtaken_at_rest!()),
    after: "",
    fixed: 3,
};

/// The deliveries of a broadcast on an account, for some recipients: what stand-ins stand in for.
pub(in crate::store) static PAIRS: Among = Among {
    name: "PAIRS",
    before: "SELECT recipient, id, due_at FROM delivery WHERE alert = $1 AND account = $2 AND broadcast = $3 \
             AND purpose = 'publish' AND recipient IN ",
    after: "",
    fixed: 3,
};

/// The lanes in which something stands in for one of some deliveries that have come to rest, or that stand in themselves.
pub(in crate::store) static STAND_INS_OF: Among = Among {
    name: "STAND_INS_OF",
    before: "SELECT DISTINCT d.account, d.mode FROM stand_in s JOIN delivery d ON d.id = s.delivery \
             JOIN delivery t ON t.id = s.target WHERE d.urgency IS NOT NULL \
             AND (t.urgency IS NULL OR t.target IS NOT NULL) AND s.target IN ",
    after: "",
    fixed: 0,
};

/// Who of some was reached in an alert by an account that stood in for another, or may have been.
pub(in crate::store) static STOOD_IN_FOR: Among = Among {
    name: "STOOD_IN_FOR",
    before: "SELECT DISTINCT recipient FROM delivery WHERE alert = $1 AND account = $2 AND purpose = 'publish' \
             AND stands_in_for IS NOT NULL AND state IN ('sending', 'unknown', 'published', 'edited') AND recipient IN ",
    after: "",
    fixed: 2,
};

/// Who of some is left out on an account.
pub(in crate::store) static LEFT_OUT: Among = Among {
    name: "LEFT_OUT",
    before: "SELECT recipient FROM suppression WHERE account IN ('', $1) AND recipient IN ",
    after: "",
    fixed: 1,
};

/// Who of some has a delivery of a broadcast on an account already.
pub(in crate::store) static THERE: Among = Among {
    name: "THERE",
    before: "SELECT recipient FROM delivery WHERE alert = $1 AND account = $2 AND broadcast = $3 \
             AND purpose = 'publish' AND recipient IN ",
    after: "",
    fixed: 3,
};
