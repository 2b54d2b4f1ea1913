//! The statements for drills: when each was last looked at, their runs, and whether an alert is on.

macro_rules! drill_columns {
    () => {
        "id, drill, level, state, actor, owner, planned_at, begun_at, started_at, finished_at, broadcast, report"
    };
}

statements! {
    DRILL_SEEN = "SELECT drill, schedule, seen_at FROM drill_seen ORDER BY drill";
    DRILL_SEE = "INSERT INTO drill_seen (drill, schedule, seen_at) VALUES ($1, $2, $3) \
        ON CONFLICT (drill) DO UPDATE SET schedule = excluded.schedule, seen_at = excluded.seen_at";
    DRILL_FORGET = "DELETE FROM drill_seen WHERE drill = $1";
    DRILL_PLANNED = "SELECT id FROM drill_run WHERE drill = $1 AND planned_at = $2";
    DRILL_BEGIN = "INSERT INTO drill_run (id, seq, drill, level, state, actor, owner, planned_at, begun_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    DRILL_START = "UPDATE drill_run SET started_at = $2 WHERE id = $1 AND state = 'running'";
    DRILL_BROADCAST = "UPDATE drill_run SET broadcast = $2 WHERE id = $1";
    DRILL_END = "UPDATE drill_run SET state = $2, finished_at = $3, report = $4 WHERE id = $1 AND state = 'running'";
    DRILL_RUN = "SELECT ", drill_columns!(), " FROM drill_run WHERE id = $1";
    DRILL_RUNS = "SELECT ", drill_columns!(), " FROM drill_run ORDER BY seq DESC LIMIT $1";
    DRILL_RUNS_OF = "SELECT ", drill_columns!(), " FROM drill_run WHERE drill = $1 ORDER BY seq DESC LIMIT $2";
    DRILLS_RUNNING = "SELECT ", drill_columns!(), " FROM drill_run WHERE state = 'running' ORDER BY seq";
    LAST_BROADCAST = "SELECT seq FROM broadcast ORDER BY seq DESC LIMIT 1";
    LIVE_AFTER = "SELECT id FROM broadcast WHERE seq > $1 AND mode = 'live' ORDER BY seq LIMIT 1";
    LIVE_NOW = "SELECT b.id FROM broadcast b JOIN alert a ON a.id = b.alert WHERE a.mode = 'live' AND a.state = 'active' \
        AND b.valid_until > $1 ORDER BY b.seq DESC LIMIT 1";
}
