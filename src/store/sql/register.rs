//! The statements for the register: attestations, applications, closings, marks, and what was posted in a year.

statements! {
    ATTEST = "INSERT INTO attestation (id, account, what, evidence, actor, at, expires_at) \
              VALUES ($1, $2, $3, $4, $5, $6, $7)";
    ATTESTED_LAST = "SELECT id, revoked_at FROM attestation WHERE account = $1 AND what = $2 ORDER BY id DESC LIMIT 1";
    ATTEST_REVOKE = "UPDATE attestation SET revoked_at = $2, revoked_by = $3, revoked_because = $4 WHERE id = $1";
    ATTESTATIONS = "SELECT id, account, what, evidence, actor, at, expires_at, revoked_at, revoked_by, revoked_because \
                    FROM attestation ORDER BY id";
    APPLICATION_NEW = "INSERT INTO application (id, body, actor, at, state) VALUES ($1, $2, $3, $4, 'open')";
    APPLICATION_STATE = "SELECT state FROM application WHERE id = $1";
    APPLICATION_DECIDE = "UPDATE application SET state = $2, decision = $3 WHERE id = $1";
    APPLICATIONS = "SELECT id, body, actor, at, state, decision FROM application ORDER BY id";
    CLOSING_SIGN = "INSERT INTO closing_step (account, step, actor, at, note) VALUES ($1, $2, $3, $4, $5)";
    CLOSING = "SELECT step, actor, at, note FROM closing_step WHERE account = $1";
    MARK_SET = "INSERT INTO register_mark (name, at, body) VALUES ($1, $2, $3) \
                ON CONFLICT (name) DO UPDATE SET at = excluded.at, body = excluded.body";
    MARK = "SELECT body FROM register_mark WHERE name = $1";
    POSTED_SINGLES = "SELECT d.account, d.state, d.queued_at, d.finished_at FROM broadcast b \
                      JOIN delivery d ON d.broadcast = b.id AND d.recipient = '' \
                      WHERE b.mode = 'live' AND b.accepted_at >= $1 AND b.accepted_at < $2 AND d.purpose = 'publish' \
                      AND (d.target IS NULL OR d.attempts > 0)";
    POSTED_LISTS = "SELECT t.account, t.state, CAST(SUM(t.n) AS BIGINT) FROM broadcast b \
                    JOIN tally t ON t.broadcast = b.id \
                    WHERE b.mode = 'live' AND b.accepted_at >= $1 AND b.accepted_at < $2 GROUP BY t.account, t.state";
}
