//! The statements for mails beside broadcasts, and for how far what recurs has been told of.

macro_rules! mail_columns {
    () => {
        "id, kind, about, recipient, letter, state, tries, written_at, not_before, deadline, error"
    };
}

statements! {
    MAIL_NEW = "INSERT INTO mail (id, kind, about, recipient, letter, state, tries, written_at, not_before, deadline) \
        VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7, $8, $9) ON CONFLICT (kind, about, recipient) DO NOTHING";
    MAIL_TRY = "UPDATE mail SET tries = tries + 1, not_before = $3 \
        WHERE id = $1 AND state = 'queued' AND not_before = $2";
    MAIL_TRIED = "UPDATE mail SET state = $2, error = $3 WHERE id = $1 AND state = 'queued'";
    MAIL_GIVE_UP = "UPDATE mail SET state = 'given-up', error = $3 WHERE id = $1 AND state = 'queued' AND not_before = $2";
    MAILS_WAITING = "SELECT ", mail_columns!(), " FROM mail WHERE state = 'queued' ORDER BY not_before, id LIMIT $1";
    MAILS_OF = "SELECT ", mail_columns!(), " FROM mail WHERE kind = $1 AND about = $2 ORDER BY id";
    MAILS_GIVE_UP = "UPDATE mail SET state = 'given-up', error = $1 WHERE state = 'queued'";
    // The mails of a drill belong to its run, which is kept.
    MAILS_FORGET = "DELETE FROM mail WHERE state <> 'queued' AND kind <> 'drill' AND written_at < $1";
    MAIL_MARK = "SELECT line, at FROM mail_mark WHERE name = $1";
    MAIL_MARKS = "SELECT name, line, at FROM mail_mark ORDER BY name";
    MAIL_MARK_SET = "INSERT INTO mail_mark (name, line, at) VALUES ($1, $2, $3) \
        ON CONFLICT (name) DO UPDATE SET line = excluded.line, at = excluded.at";
}
