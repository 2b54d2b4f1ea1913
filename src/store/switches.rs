//! Which accounts a person has switched off: a word each beside the database's own.

use super::db::{Readers, Value};
use super::writer::{Request, Tx};
use super::{Entry, Store, StoreError, sql};
use crate::model::AccountId;

/// Before the account's id.
const OFF: &str = "off:";

impl Store {
    /// Keeps what stands on an account's switch; with `None`, it is on again. Returns whether anything changed; the journal
    /// record is written only then.
    pub async fn switch(
        &self,
        account: &AccountId,
        off: Option<String>,
        entry: Entry,
    ) -> Result<bool, StoreError> {
        let account = account.clone();
        self.ask(|reply| Request::Switch(account, off, entry, reply))
            .await
    }

    /// Every account that is off, with what stands on its switch.
    pub async fn switches(&self) -> Result<Vec<(AccountId, String)>, StoreError> {
        read(&self.inner.readers).await
    }
}

async fn read(readers: &Readers) -> Result<Vec<(AccountId, String)>, StoreError> {
    let rows = readers.fetch(sql::SWITCHES, vec![]).await?;
    let mut found = Vec::new();
    for row in &rows {
        let name = row.text(0)?;
        if let Some(Ok(account)) = name.strip_prefix(OFF).map(str::parse) {
            found.push((account, row.text(1)?));
        }
    }
    Ok(found)
}

/// A person's decision.
pub(super) async fn decide(
    tx: &mut Tx<'_>,
    account: &AccountId,
    off: Option<String>,
    entry: Entry,
) -> Result<bool, StoreError> {
    let name = format!("{OFF}{account}");
    let is_off = !tx
        .conn
        .fetch(sql::META, vec![name.as_str().into()])
        .await?
        .is_empty();
    let changed = match off {
        Some(text) => {
            let values = vec![name.as_str().into(), Value::Text(Some(text))];
            tx.conn.execute(sql::META_SET, values).await?;
            true
        }
        None if is_off => {
            tx.conn
                .execute(sql::META_CLEAR, vec![name.as_str().into()])
                .await?;
            true
        }
        None => false,
    };
    if changed {
        tx.chain.add(entry);
    }
    Ok(changed)
}
