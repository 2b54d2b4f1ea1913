//! Mails beside broadcasts: on disk before the first try, tried by one at a time, out once. With them stands how far what
//! recurs has been told of, so that a restart, or another node, tells nothing twice.

use serde_json::json;

use super::db::{Row, Value, unsigned};
use super::step::to_json;
use super::writer::{Request, Tx};
use super::{Entry, Store, StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{Actor, DeliveryId, Letter, MailKind, MailMark, Reason, Recipient};

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its id, and the key of every try.
    pub id: DeliveryId,
    /// What it is.
    pub kind: MailKind,
    /// What it tells of.
    pub about: String,
    /// To whom.
    pub recipient: Recipient,
    /// What it says; `None` where that is made from what it tells of.
    pub letter: Option<Letter>,
    /// Whether it is out; `None` while it is tried.
    pub sent: Option<bool>,
    /// Tries begun.
    pub tries: u32,
    /// When it was written.
    pub written_at: Timestamp,
    /// No try before it.
    pub not_before: Timestamp,
    /// No try at or after it.
    pub deadline: Timestamp,
    /// What last went wrong.
    pub error: Option<Reason>,
}

impl Mail {
    /// One that has not been tried.
    pub fn new(
        kind: MailKind,
        about: &str,
        recipient: &Recipient,
        letter: Option<Letter>,
        at: Timestamp,
        deadline: Timestamp,
    ) -> Self {
        Self {
            id: DeliveryId::fresh(),
            kind,
            about: about.to_owned(),
            recipient: recipient.clone(),
            letter,
            sent: None,
            tries: 0,
            written_at: at,
            not_before: at,
            deadline,
            error: None,
        }
    }
}

/// What may be written of mails.
#[derive(Debug)]
pub enum MailChange {
    /// Mails are written, and that this has been told of. Does not apply if any of it was told of before. A mail of the same
    /// kind about the same to the same recipient is written once.
    Write(Vec<Mail>, Vec<MailMark>, Option<Entry>),
    /// From now on this is told of up to then, whatever was.
    Begin(MailMark),
    /// A mail is tried now; again not before then. Does not apply if another node was faster.
    Try(Mail, Timestamp),
    /// What came of a try: out, given up, or tried again.
    Tried(Mail, Option<bool>, Option<Reason>),
    /// A mail is not tried any more, for that reason; others are written instead. Does not apply if another node tries it.
    GiveUp(Mail, Reason, Vec<Mail>),
}

impl Store {
    /// Writes something of mails. Returns whether it applied.
    pub async fn mail(&self, change: MailChange, at: Timestamp) -> Result<bool, StoreError> {
        self.ask(|reply| Request::Mail(Box::new(change), at, reply)).await
    }

    /// At most `limit` mails that are not out, the next one to be tried first.
    pub async fn mails_waiting(&self, limit: usize) -> Result<Vec<Mail>, StoreError> {
        let values = vec![super::read::limited(limit).into()];
        let rows = self.inner.readers.fetch(sql::MAILS_WAITING, values).await?;
        rows.iter().map(mail_of).collect()
    }

    /// The mails of a kind about something.
    pub async fn mails_about(&self, kind: MailKind, about: &str) -> Result<Vec<Mail>, StoreError> {
        let values = vec![kind.as_str().into(), about.into()];
        let rows = self.inner.readers.fetch(sql::MAILS_OF, values).await?;
        rows.iter().map(mail_of).collect()
    }

    /// How far what recurs has been told of.
    pub async fn mail_marks(&self) -> Result<Vec<MailMark>, StoreError> {
        let rows = self.inner.readers.fetch(sql::MAIL_MARKS, vec![]).await?;
        let mark = |row: &Row| {
            Ok(MailMark {
                name: row.text(0)?,
                line: row.text(1)?,
                at: row.time(2)?,
            })
        };
        rows.iter().map(mark).collect()
    }
}

pub(super) async fn change(tx: &mut Tx<'_>, change: MailChange, at: Timestamp) -> Result<bool, StoreError> {
    match change {
        MailChange::Write(mails, marks, entry) => {
            for mark in &marks {
                let rows = tx
                    .conn
                    .fetch(sql::MAIL_MARK, vec![mark.name.as_str().into()])
                    .await?;
                if let Some(row) = rows.first() {
                    let known = MailMark {
                        name: mark.name.clone(),
                        line: row.text(0)?,
                        at: row.time(1)?,
                    };
                    if mark.is_told_with(&known) {
                        return Ok(false);
                    }
                }
            }
            for mark in &marks {
                set(tx, mark).await?;
            }
            write(tx, &mails).await?;
            if let Some(entry) = entry {
                tx.chain.add(entry);
            }
            Ok(true)
        }
        MailChange::Begin(mark) => set(tx, &mark).await.map(|()| true),
        MailChange::Try(mail, next) => {
            let values = vec![mail.id.as_str().into(), mail.not_before.into(), next.into()];
            Ok(tx.conn.execute(sql::MAIL_TRY, values).await? > 0)
        }
        MailChange::GiveUp(mail, why, instead) => {
            let values = vec![
                mail.id.as_str().into(),
                mail.not_before.into(),
                Value::Text(Some(to_json(&why)?)),
            ];
            if tx.conn.execute(sql::MAIL_GIVE_UP, values).await? == 0 {
                return Ok(false);
            }
            write(tx, &instead).await?;
            let mut entry = ended(&mail, "given-up", mail.tries, Some(&why), at);
            if !instead.is_empty() {
                entry.body["instead"] = json!(instead.iter().map(|mail| &mail.id).collect::<Vec<_>>());
            }
            tx.chain.add(entry);
            Ok(true)
        }
        MailChange::Tried(mail, sent, error) => {
            let state = match sent {
                None => "queued",
                Some(true) => "sent",
                Some(false) => "given-up",
            };
            let why = error.as_ref().map(to_json).transpose()?;
            let values = vec![mail.id.as_str().into(), state.into(), Value::Text(why)];
            if tx.conn.execute(sql::MAIL_TRIED, values).await? == 0 {
                return Ok(false);
            }
            if sent.is_some() {
                let tries = mail.tries.saturating_add(1);
                tx.chain.add(ended(&mail, state, tries, error.as_ref(), at));
            }
            Ok(true)
        }
    }
}

/// How a mail ended, for the journal.
fn ended(mail: &Mail, state: &str, tries: u32, error: Option<&Reason>, at: Timestamp) -> Entry {
    Entry {
        at,
        actor: Actor::daemon(),
        kind: "mail",
        broadcast: None,
        delivery: None,
        body: json!({
            "mail": mail.id, "kind": mail.kind, "about": mail.about, "state": state,
            "tries": tries, "error": error.map(|error| error.code.as_str()),
        }),
    }
}

async fn set(tx: &mut Tx<'_>, mark: &MailMark) -> Result<(), StoreError> {
    let values = vec![
        mark.name.as_str().into(),
        mark.line.as_str().into(),
        mark.at.into(),
    ];
    tx.conn.execute(sql::MAIL_MARK_SET, values).await?;
    Ok(())
}

/// Writes mails that are to be tried. Each of a kind about something to a recipient once.
pub(super) async fn write(tx: &mut Tx<'_>, mails: &[Mail]) -> Result<(), StoreError> {
    for mail in mails {
        let letter = mail.letter.as_ref().map(to_json).transpose()?;
        let values = vec![
            mail.id.as_str().into(),
            mail.kind.as_str().into(),
            mail.about.as_str().into(),
            mail.recipient.address().into(),
            Value::Text(letter),
            i64::from(mail.tries).into(),
            mail.written_at.into(),
            mail.not_before.into(),
            mail.deadline.into(),
        ];
        tx.conn.execute(sql::MAIL_NEW, values).await?;
    }
    Ok(())
}

/// Of a restored copy: what waits may be out since.
pub(super) async fn give_up(tx: &mut Tx<'_>, why: &Reason) -> Result<u64, StoreError> {
    let values = vec![Value::Text(Some(to_json(why)?))];
    Ok(tx.conn.execute(sql::MAILS_GIVE_UP, values).await?)
}

fn mail_of(row: &Row) -> Result<Mail, StoreError> {
    Ok(Mail {
        id: row.word(0)?,
        kind: row.word(1)?,
        about: row.text(2)?,
        recipient: Recipient::new(row.text(3)?),
        letter: row.json_or_null(4)?,
        sent: match row.text(5)?.as_str() {
            "sent" => Some(true),
            "given-up" => Some(false),
            _ => None,
        },
        tries: unsigned(row.int(6)?)?,
        written_at: row.time(7)?,
        not_before: row.time(8)?,
        deadline: row.time(9)?,
        error: row.reason(10)?,
    })
}
