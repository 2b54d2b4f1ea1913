//! Statements of as many rows, or with as many values in a list, as one likes: how their texts are put together and run.
//! The only place where SQL is put together; values are always bound, never written into the text.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::store::StoreError;
use crate::store::db::{Conn, Readers, Row, Value};

/// What a placeholder of the first row is cast to: PostgreSQL would otherwise guess from a null.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cast {
    Text,
    Int,
}

impl Cast {
    fn null(self) -> Value {
        match self {
            Self::Text => Value::Text(None),
            Self::Int => Value::Int(None),
        }
    }
}

/// A statement of as many rows as one likes.
#[derive(Debug)]
pub(in crate::store) struct Many {
    pub(super) name: &'static str,
    pub(super) before: &'static str,
    pub(super) columns: &'static [Cast],
    pub(super) after: &'static str,
    /// Rows of one statement at most; a power of two.
    pub(super) most: usize,
}

/// A text.
pub(super) const T: Cast = Cast::Text;
/// A whole number.
pub(super) const I: Cast = Cast::Int;

/// Statements with a list in them: `before ($1, $2, …) after`. Filled up to a power of two by repeating the last value.
#[derive(Debug)]
pub(in crate::store) struct Among {
    pub(super) name: &'static str,
    pub(super) before: &'static str,
    pub(super) after: &'static str,
    /// Placeholders used before the list.
    pub(super) fixed: usize,
}

/// Most values of one list.
pub(super) const AMONG_MOST: usize = 512;

/// By name, number of rows and spelling.
type Texts = HashMap<Key, Arc<str>>;
type Key = (&'static str, usize, Placeholders);

/// Texts built once: preparing is keyed by the text, and building one costs as much as running it.
static BUILT: LazyLock<Mutex<Texts>> = LazyLock::new(Mutex::default);

fn built(key: Key, build: impl FnOnce() -> String) -> SqlStr {
    let mut texts = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let text = texts.entry(key).or_insert_with(|| Arc::from(build()));
    AssertSqlSafe(Arc::clone(text)).into_sql_str()
}

/// How the placeholders of multi-row statements are spelled. SQLite takes `$1` for a name and looks names up one by
/// one, when it prepares and at each bind: with a thousand of them that costs more than the statement itself. It counts
/// `?` by position; PostgreSQL knows only `$1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::store) enum Placeholders {
    Counted,
    Numbered,
}

impl Placeholders {
    fn spell(self, number: usize) -> String {
        match self {
            Self::Counted => "?".to_owned(),
            Self::Numbered => format!("${number}"),
        }
    }
}

/// The next number of the row 1, 2, 3, 4, 6, 8, 12, 16, 24 …: at most half as much again as is needed.
fn common_size(rows: usize) -> usize {
    let power = rows.next_power_of_two();
    let between = power / 4 * 3;
    if between >= rows { between } else { power }
}

impl Many {
    pub(super) fn text(&'static self, rows: usize, placeholders: Placeholders) -> SqlStr {
        built((self.name, rows, placeholders), || {
            let mut text = self.before.to_owned();
            let mut number = 0;
            for row in 0..rows {
                text.push_str(if row == 0 { "(" } else { ", (" });
                for (at, cast) in self.columns.iter().enumerate() {
                    number += 1;
                    if at > 0 {
                        text.push_str(", ");
                    }
                    let one = placeholders.spell(number);
                    let one = match (row, cast) {
                        (0, Cast::Text) => format!("CAST({one} AS TEXT)"),
                        (0, Cast::Int) => format!("CAST({one} AS BIGINT)"),
                        (_, Cast::Text | Cast::Int) => one,
                    };
                    text.push_str(&one);
                }
                text.push(')');
            }
            text.push_str(self.after);
            text
        })
    }

    /// Runs it over all rows in as few statements as possible: each costs a trip to the engine. Rows of nulls, which no
    /// text heeds, fill the last one up to a common size, so that a handful of prepared statements serves every number.
    /// Returns how many rows it touched.
    pub(in crate::store) async fn run(
        &'static self,
        conn: &mut Conn,
        rows: Vec<Vec<Value>>,
    ) -> Result<u64, StoreError> {
        let mut touched = 0;
        for (text, values) in self.statements(conn.placeholders(), rows) {
            touched += conn.execute(text, values).await?;
        }
        Ok(touched)
    }

    /// Runs it like [`Self::run`] and returns what it reads; its order holds within each statement only.
    pub(in crate::store) async fn fetch(
        &'static self,
        conn: &mut Conn,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        for (text, values) in self.statements(conn.placeholders(), rows) {
            found.extend(conn.fetch(text, values).await?);
        }
        Ok(found)
    }

    /// Reads like [`Self::fetch`].
    pub(in crate::store) async fn read(
        &'static self,
        readers: &Readers,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        for (text, values) in self.statements(readers.placeholders(), rows) {
            found.extend(readers.fetch(text, values).await?);
        }
        Ok(found)
    }

    fn statements(
        &'static self,
        placeholders: Placeholders,
        rows: Vec<Vec<Value>>,
    ) -> impl Iterator<Item = (SqlStr, Vec<Value>)> {
        let mut left = rows.len();
        let mut rows = rows.into_iter();
        std::iter::from_fn(move || {
            let taken = left.min(self.most);
            if taken == 0 {
                return None;
            }
            left -= taken;
            let size = common_size(taken).min(self.most);
            let mut values = Vec::with_capacity(size * self.columns.len());
            values.extend(rows.by_ref().take(taken).flatten());
            for _ in taken..size {
                values.extend(self.columns.iter().map(|column| column.null()));
            }
            Some((self.text(size, placeholders), values))
        })
    }
}

impl Among {
    pub(super) fn text(&'static self, values: usize, placeholders: Placeholders) -> SqlStr {
        // Counted and named ones do not mix.
        let placeholders = if self.fixed == 0 {
            placeholders
        } else {
            Placeholders::Numbered
        };
        built((self.name, values, placeholders), || {
            let list: Vec<_> = (1..=values).map(|n| placeholders.spell(n + self.fixed)).collect();
            format!("{}({}){}", self.before, list.join(", "), self.after)
        })
    }

    fn chunks(
        &'static self,
        placeholders: Placeholders,
        fixed: &[Value],
        among: &[Value],
    ) -> Vec<(SqlStr, Vec<Value>)> {
        debug_assert_eq!(fixed.len(), self.fixed);
        among
            .chunks(AMONG_MOST)
            .map(|chunk| {
                let size = chunk.len().next_power_of_two();
                let last = chunk.iter().rev().take(1).cycle().take(size - chunk.len());
                let values = fixed.iter().chain(chunk).chain(last).cloned().collect();
                (self.text(size, placeholders), values)
            })
            .collect()
    }

    pub(in crate::store) async fn write(
        &'static self,
        conn: &mut Conn,
        fixed: &[Value],
        among: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::with_capacity(among.len());
        for (text, values) in self.chunks(conn.placeholders(), fixed, &among) {
            rows.extend(conn.fetch(text, values).await?);
        }
        Ok(rows)
    }

    /// Runs a statement that changes rows; returns how many.
    pub(in crate::store) async fn run(
        &'static self,
        conn: &mut Conn,
        fixed: &[Value],
        among: &[Value],
    ) -> Result<u64, StoreError> {
        let mut touched = 0;
        for (text, values) in self.chunks(conn.placeholders(), fixed, among) {
            touched += conn.execute(text, values).await?;
        }
        Ok(touched)
    }

    pub(in crate::store) async fn read(
        &'static self,
        readers: &Readers,
        fixed: &[Value],
        among: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::with_capacity(among.len());
        for (text, values) in self.chunks(readers.placeholders(), fixed, &among) {
            rows.extend(readers.fetch(text, values).await?);
        }
        Ok(rows)
    }
}
