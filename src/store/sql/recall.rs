//! The statements for calling a broadcast off on some accounts: `$1` is the broadcast, `$2` its mode, `$3` the time.

use super::rows::Among;

/// Nobody stands in any more for what is called off.
pub(in crate::store) static RECALL_PAIRS: Among = Among {
    name: "RECALL_PAIRS",
    before: "DELETE FROM stand_in WHERE target IN (SELECT id FROM delivery WHERE broadcast = $1 AND mode = $2 \
             AND account IN ",
    after: ")",
    fixed: 2,
};

/// What waits and is no list.
pub(in crate::store) static RECALLED: Among = Among {
    name: "RECALLED",
    before: concat!(
        step_columns!(),
        "WHERE d.broadcast = $1 AND d.mode = $2 AND d.recipient = '' AND d.purpose IN ('publish', 'edit') \
         AND d.state IN ('queued', 'held', 'manual') AND d.account IN "
    ),
    after: " ORDER BY d.seq",
    fixed: 2,
};

/// Recipients that wait for a repeat of an attempt that may have got through.
pub(in crate::store) static RECALLED_UNCERTAIN: Among = Among {
    name: "RECALLED_UNCERTAIN",
    before: concat!(
        step_columns!(),
        "WHERE d.mode = $2 AND d.urgency IS NOT NULL AND d.broadcast = $1 AND d.recipient <> '' \
         AND d.purpose = 'publish' AND d.state = 'queued' AND d.unknown_since IS NOT NULL AND d.account IN "
    ),
    after: " ORDER BY d.seq",
    fixed: 2,
};

macro_rules! recalled_in_lane {
    () => {
        "WHERE mode = $2 AND urgency IS NOT NULL AND broadcast = $1 AND recipient <> '' AND purpose = 'publish' \
         AND state = 'queued' AND unknown_since IS NULL AND account IN "
    };
}

macro_rules! recalled_at_rest {
    () => {
        "WHERE broadcast = $1 AND mode = $2 AND state IN ('refused', 'unknown', 'held', 'manual', 'expired') \
         AND state IN ('held', 'manual') AND recipient <> '' AND purpose = 'publish' AND unknown_since IS NULL \
         AND account IN "
    };
}

macro_rules! recalled_count {
    ($which:expr) => {
        concat!(
            "SELECT account, state, \
             CAST(CASE WHEN target IS NOT NULL AND attempts = 0 THEN 1 ELSE 0 END AS BIGINT), COUNT(*) FROM delivery ",
            $which
        )
    };
}

macro_rules! recall_step {
    ($which:expr) => {
        concat!(
            "UPDATE delivery SET state = 'cancelled', urgency = NULL, finished_at = $3, error = NULL ",
            $which
        )
    };
}

const GROUPS: &str =
    " GROUP BY account, state, CASE WHEN target IS NOT NULL AND attempts = 0 THEN 1 ELSE 0 END";

/// Recipients that are called off: counted, then moved, where they wait and where a person would decide.
pub(in crate::store) static RECALLED_IN_LANE: Among = Among {
    name: "RECALLED_IN_LANE",
    before: recalled_count!(recalled_in_lane!()),
    after: GROUPS,
    fixed: 2,
};

pub(in crate::store) static RECALLED_AT_REST: Among = Among {
    name: "RECALLED_AT_REST",
    before: recalled_count!(recalled_at_rest!()),
    after: GROUPS,
    fixed: 2,
};

pub(in crate::store) static RECALL_IN_LANE: Among = Among {
    name: "RECALL_IN_LANE",
    before: recall_step!(recalled_in_lane!()),
    after: "",
    fixed: 3,
};

pub(in crate::store) static RECALL_AT_REST: Among = Among {
    name: "RECALL_AT_REST",
    before: recall_step!(recalled_at_rest!()),
    after: "",
    fixed: 3,
};

/// Attempts under way: what comes back of them unsent is called off.
pub(in crate::store) static RECALL_UNDER_WAY: Among = Among {
    name: "RECALL_UNDER_WAY",
    before: "UPDATE delivery SET recalled_at = $3 WHERE mode = $2 AND urgency IS NOT NULL AND broadcast = $1 \
             AND purpose IN ('publish', 'edit') AND state IN ('sending', 'unknown') AND account IN ",
    after: "",
    fixed: 3,
};
