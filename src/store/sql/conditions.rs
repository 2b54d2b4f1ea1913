//! The statements for what was seen of accounts, what of it lasts, and who was told.

macro_rules! observed {
    () => {
        "SELECT subject, look, reach, since, at, took_ms, body FROM observation"
    };
}

macro_rules! condition_columns {
    () => {
        "c.id, c.subject, c.since, c.seen_at, c.ended_at, c.sign"
    };
}

statements! {
    OBSERVATION_LAST = observed!(), " WHERE subject = $1 AND look = $2 ORDER BY id DESC LIMIT 1";
    OBSERVATION_NEW = "INSERT INTO observation (id, subject, look, reach, since, at, took_ms, body) \
                       VALUES ($1, $2, $3, $4, $5, $5, $6, $7)";
    OBSERVATION_AGAIN = "UPDATE observation SET at = $3, took_ms = $4, body = $5 WHERE id = \
                         (SELECT MAX(id) FROM observation WHERE subject = $1 AND look = $2)";
    OBSERVATIONS_LATEST = observed!(), " WHERE id IN (SELECT MAX(id) FROM observation GROUP BY subject, look) \
                          ORDER BY subject, look";
    OBSERVATIONS_LATEST_BY = observed!(), " WHERE id IN (SELECT MAX(id) FROM observation WHERE look = $1 GROUP BY subject) \
                             ORDER BY subject";
    OBSERVATIONS_OF = observed!(), " WHERE subject = $1 ORDER BY id DESC LIMIT $2";
    OBSERVATIONS_FORGET = "DELETE FROM observation WHERE at < $1 AND id NOT IN \
                           (SELECT MAX(id) FROM observation GROUP BY subject, look)";
    ALERT_SINCE = "SELECT MIN(b.accepted_at) FROM broadcast b JOIN alert a ON a.id = b.alert WHERE a.state = 'active' \
                   AND a.mode = 'live' AND b.accepted_at > $2 AND EXISTS \
                   (SELECT 1 FROM delivery d WHERE d.broadcast = b.id AND d.account = $1)";
    PLAN = "SELECT schedule, seen_at, running_at, owner FROM schedule_seen WHERE name = $1";
    PLAN_SEE = "INSERT INTO schedule_seen (name, schedule, seen_at) VALUES ($1, $2, $3) \
                ON CONFLICT (name) DO UPDATE SET schedule = excluded.schedule, seen_at = excluded.seen_at";
    PLAN_PASS = "UPDATE schedule_seen SET seen_at = $2 WHERE name = $1 AND seen_at < $2";
    PLAN_TAKE = "UPDATE schedule_seen SET seen_at = $2, running_at = $2, owner = $3 \
                 WHERE name = $1 AND seen_at < $2 AND running_at IS NULL";
    PLAN_END = "UPDATE schedule_seen SET running_at = NULL, owner = NULL WHERE name = $1 AND running_at IS NOT NULL \
                AND owner = $2";
    CONDITIONS_OF = "SELECT ", condition_columns!(), " FROM condition c WHERE c.subject = $1 AND c.ended_at IS NULL";
    CONDITIONS_OPEN = "SELECT ", condition_columns!(), " FROM condition c WHERE c.ended_at IS NULL ORDER BY c.since, c.id";
    CONDITIONS_ENDED = "SELECT ", condition_columns!(), " FROM condition c WHERE c.ended_at >= $1 \
                       ORDER BY c.ended_at DESC, c.id DESC LIMIT $2";
    CONDITION_NEW = "INSERT INTO condition (id, subject, trouble, since, seen_at, ended_at, sign) \
                     VALUES ($1, $2, $3, $4, $4, $5, $6)";
    CONDITION_AGAIN = "UPDATE condition SET seen_at = $2, sign = $3 WHERE id = $1";
    CONDITION_END = "UPDATE condition SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
    CONDITIONS_FORGET = "DELETE FROM condition WHERE ended_at < $1 AND NOT EXISTS \
                         (SELECT 1 FROM notice n WHERE n.condition = condition.id)";
    NOTICE_NEW = "INSERT INTO notice (id, condition, phase, step, state, due_at, tries, sign) \
                  VALUES ($1, $2, $3, $4, 'due', $5, 0, $6) ON CONFLICT (condition, phase, step) DO NOTHING";
    NOTICE_TOLD = "SELECT id FROM notice WHERE condition = $1 AND phase = 'begin' AND state = 'told' LIMIT 1";
    NOTICES_VOID = "UPDATE notice SET state = 'void' WHERE condition = $1 AND state = 'due'";
    NOTICE_IS_TOLD = "UPDATE notice SET state = 'told', told_at = $2, note = $3, tries = tries + 1 \
                      WHERE id = $1 AND state = 'due'";
    NOTICE_AGAIN = "UPDATE notice SET due_at = $2, note = $3, tries = tries + 1 WHERE id = $1 AND state = 'due'";
    NOTICES_DUE = "SELECT n.id, n.phase, n.due_at, n.tries, ", condition_columns!(), ", n.sign FROM notice n \
                   JOIN condition c ON c.id = n.condition WHERE n.state = 'due' AND n.due_at <= $1 \
                   ORDER BY n.due_at, n.id LIMIT $2";
    NOTICE_OF = "SELECT n.id, n.phase, n.due_at, n.tries, ", condition_columns!(), ", n.sign FROM notice n \
                 JOIN condition c ON c.id = n.condition WHERE n.id = $1";
    NOTICE_NEXT = "SELECT MIN(due_at) FROM notice WHERE state = 'due'";
    NOTICES_FORGET = "DELETE FROM notice WHERE state <> 'due' AND condition IN \
                      (SELECT id FROM condition WHERE ended_at < $1)";
}
