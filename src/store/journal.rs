//! The journal's chain: what is hashed, how records join it, and how the whole is walked.
//!
//! The hash of a record is SHA-256 over nine netstrings (`<length in bytes>:<bytes>,`): the hash before it in hex, the
//! sequence and the time (microseconds since the epoch) in decimal, actor, kind, broadcast, delivery (`-,` where there
//! is none) and body. The first record follows 64 zeros. Nothing can move from one field to the next without changing
//! the length in front of it.

use sha2::{Digest, Sha256};

use super::db::{Conn, Readers, Row, Value, clean};
use super::{ChainReport, Entry, Record, StoreError, sql};
use crate::model::{Actor, BroadcastId};

/// Records read at a time when walking the chain.
const PAGE: i64 = 1000;

/// The end of the chain within a transaction, and what is to be added to it.
#[derive(Debug)]
pub(super) struct Chain {
    seq: i64,
    hash: String,
    fresh: Vec<Record>,
}

impl Chain {
    /// Begins the transaction and reads the end; on PostgreSQL, waits until no other node writes.
    pub(super) async fn begin(conn: &mut Conn) -> Result<Self, StoreError> {
        let rows = conn.begin_group().await?;
        let (seq, hash) = end(&rows)?;
        Ok(Self {
            seq,
            hash,
            fresh: Vec::new(),
        })
    }

    /// Adds a record; it is written by [`Self::write`]. Returns its sequence.
    pub(super) fn add(&mut self, entry: Entry) -> i64 {
        self.seq += 1;
        let mut record = Record {
            seq: self.seq,
            at: entry.at,
            actor: Actor(clean(&entry.actor.0)),
            kind: clean(entry.kind),
            broadcast: entry.broadcast,
            delivery: entry.delivery,
            body: entry.body.to_string(),
            hash: String::new(),
        };
        record.hash = hash(&self.hash, &record);
        self.hash.clone_from(&record.hash);
        self.fresh.push(record);
        self.seq
    }

    /// Writes what was added; returns the new end, if it has moved.
    pub(super) async fn write(self, conn: &mut Conn) -> Result<Option<(i64, String)>, StoreError> {
        if self.fresh.is_empty() {
            return Ok(None);
        }
        let rows = self.fresh.into_iter().map(|record| {
            vec![
                record.seq.into(),
                record.at.into(),
                record.actor.0.as_str().into(),
                record.kind.as_str().into(),
                record.broadcast.as_ref().map(BroadcastId::as_str).into(),
                record.delivery.as_ref().map(AsRef::as_ref).into(),
                Value::Text(Some(record.body)),
                Value::Text(Some(record.hash)),
            ]
        });
        sql::JOURNAL_NEW.run(conn, rows.collect()).await?;
        Ok(Some((self.seq, self.hash)))
    }
}

fn end(rows: &[Row]) -> Result<(i64, String), StoreError> {
    match rows.first() {
        Some(row) => Ok((row.int(0)?, row.text(1)?)),
        None => Err(StoreError::Engine("the end of the journal is missing".to_owned())),
    }
}

fn hash(before: &str, record: &Record) -> String {
    let mut sha = Sha256::new();
    let mut field = |text: Option<&str>| match text {
        Some(text) => {
            sha.update(text.len().to_string());
            sha.update(b":");
            sha.update(text);
            sha.update(b",");
        }
        None => sha.update(b"-,"),
    };
    field(Some(before));
    field(Some(&record.seq.to_string()));
    field(Some(&record.at.as_microsecond().to_string()));
    field(Some(&record.actor.0));
    field(Some(&record.kind));
    field(record.broadcast.as_ref().map(AsRef::as_ref));
    field(record.delivery.as_ref().map(AsRef::as_ref));
    field(Some(&record.body));
    hex::encode(sha.finalize())
}

pub(super) async fn head(readers: &Readers) -> Result<(i64, String), StoreError> {
    end(&readers.fetch(sql::CHAIN, vec![]).await?)
}

pub(super) async fn read(
    readers: &Readers,
    after: i64,
    limit: usize,
    broadcast: Option<&BroadcastId>,
) -> Result<Vec<Record>, StoreError> {
    let mut values = vec![after.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    let text = match broadcast {
        Some(id) => {
            values.push(id.as_str().into());
            sql::JOURNAL_OF_BROADCAST
        }
        None => sql::JOURNAL,
    };
    readers.fetch(text, values).await?.iter().map(record).collect()
}

fn record(row: &Row) -> Result<Record, StoreError> {
    Ok(Record {
        seq: row.int(0)?,
        at: row.time(1)?,
        actor: Actor(row.text(2)?),
        kind: row.text(3)?,
        broadcast: row.word_or_null(4)?,
        delivery: row.word_or_null(5)?,
        body: row.text(6)?,
        hash: row.text(7)?,
    })
}

/// Walks the chain a page at a time. Records that are added meanwhile are walked too.
pub(super) async fn verify(readers: &Readers) -> Result<ChainReport, StoreError> {
    let mut report = ChainReport {
        records: 0,
        head: "0".repeat(64),
        broken: None,
    };
    let mut last = 0;
    // Below the first number nothing may stand, so the walk starts at the lowest number that there is.
    let mut after = i64::MIN;
    loop {
        let rows = readers
            .fetch(sql::JOURNAL, vec![after.into(), PAGE.into()])
            .await?;
        for row in &rows {
            let want = last + 1;
            let broken = match record(row) {
                Err(error) => Some((want, format!("cannot be read: {error}"))),
                Ok(found) if found.seq != want => {
                    Some((want, format!("missing; record {} follows", found.seq)))
                }
                Ok(found) if hash(&report.head, &found) != found.hash => Some((
                    want,
                    "its hash does not fit its content and the record before it".to_owned(),
                )),
                Ok(found) => {
                    last = found.seq;
                    report.records += 1;
                    report.head = found.hash;
                    None
                }
            };
            if broken.is_some() {
                report.broken = broken;
                return Ok(report);
            }
        }
        after = last;
        // Record and end are written together, so an end read after the records is never behind them.
        let (seq, end) = head(readers).await?;
        if last > seq {
            report.broken = Some((seq + 1, "stands after the end of the journal".to_owned()));
            return Ok(report);
        }
        if last == seq {
            if end != report.head {
                report.broken = Some((seq, "the end of the journal has another hash".to_owned()));
            }
            return Ok(report);
        }
        if rows.is_empty() {
            report.broken = Some((last + 1, format!("missing; the journal has {seq} records")));
            return Ok(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_micros;

    fn record() -> Record {
        Record {
            seq: 1,
            at: from_micros(1_700_000_000_000_000),
            actor: Actor("anna".to_owned()),
            kind: "accept".to_owned(),
            broadcast: None,
            delivery: None,
            body: "{}".to_owned(),
            hash: String::new(),
        }
    }

    #[test]
    fn the_canonical_form_is_what_the_documentation_says() {
        let zeros = "0".repeat(64);
        let text = format!("64:{zeros},1:1,16:1700000000000000,4:anna,6:accept,-,-,2:{{}},");
        assert_eq!(hash(&zeros, &record()), hex::encode(Sha256::digest(text)));
    }

    #[test]
    fn nothing_moves_between_fields_unnoticed() {
        let zeros = "0".repeat(64);
        let moved = Record {
            actor: Actor("annaa".to_owned()),
            kind: "ccept".to_owned(),
            ..record()
        };
        assert_ne!(hash(&zeros, &record()), hash(&zeros, &moved));
        let swapped = |broadcast: Option<&str>, delivery: Option<&str>| Record {
            broadcast: broadcast.map(|id| id.parse().unwrap()),
            delivery: delivery.map(|id| id.parse().unwrap()),
            ..record()
        };
        assert_ne!(
            hash(&zeros, &swapped(Some("a"), None)),
            hash(&zeros, &swapped(None, Some("a")))
        );
    }
}
