//! Pictures, each once under the digest of its bytes: written with the acceptance that needs them, never changed, never
//! removed. A rendering names them.

use std::sync::Arc;

use super::db::{Readers, Value};
use super::writer::Tx;
use super::{StoreError, sql};
use crate::clock::Timestamp;
use crate::model::Picture;

/// Keeps what is not there yet.
pub(super) async fn keep(
    tx: &mut Tx<'_>,
    pictures: &[Arc<Picture>],
    at: Timestamp,
) -> Result<(), StoreError> {
    for picture in pictures {
        let values = vec![
            picture.reference().sha256.as_str().into(),
            picture.media_type.into(),
            Value::Bytes(Some(picture.bytes.clone())),
            at.into(),
        ];
        tx.conn.execute(sql::PICTURE_NEW, values).await?;
    }
    Ok(())
}

/// The bytes under a digest.
pub(super) async fn read(readers: &Readers, sha256: &str) -> Result<Vec<u8>, StoreError> {
    let rows = readers.fetch(sql::PICTURE, vec![sha256.into()]).await?;
    match rows.first() {
        Some(row) => row.bytes(0),
        None => Err(StoreError::NotFound(format!("picture {sha256}"))),
    }
}
