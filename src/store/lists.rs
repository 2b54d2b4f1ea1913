//! The store's side of lists: chunks that are put aside, expansions, and who is left out.

use super::writer::{DecideLists, Request};
use super::{
    Entry, Expanded, Expansion, Forgotten, ListDecision, Store, StoreError, Suppressed, read, summary,
};
use crate::clock::Timestamp;
use crate::model::{AccountId, Actor, BroadcastId, Delivery, Reason, Recipient};

impl Store {
    /// Leaves a recipient out of all later broadcasts, with the reason; with `None`, takes it in again on every account.
    /// Returns whether anything changed; the journal record is written only then.
    pub async fn suppress(
        &self,
        recipient: Recipient,
        reason: Option<Reason>,
        entry: Entry,
    ) -> Result<bool, StoreError> {
        self.ask(|reply| Request::Suppress(recipient, None, reason, entry, reply))
            .await
    }

    /// Leaves a recipient out on one account, by the recipient's own wish. Returns whether that is new.
    pub async fn leave(
        &self,
        recipient: Recipient,
        account: AccountId,
        reason: Reason,
        entry: Entry,
    ) -> Result<bool, StoreError> {
        self.ask(|reply| Request::Suppress(recipient, Some(account), Some(reason), entry, reply))
            .await
    }

    /// Puts chunks of a list into the database, from number `first` on, each a JSON array of addresses. Under a name that
    /// is used for nothing else: what no acceptance takes up is removed by [`Store::forget_lists`].
    pub async fn stage(
        &self,
        list: &str,
        first: u64,
        bodies: Vec<String>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let list = list.to_owned();
        self.ask(|reply| Request::StageList(list, first, bodies, at, reply))
            .await
    }

    /// Makes one chunk of one list into deliveries, and moves its mark in the same commit.
    pub async fn expand(&self, at: Timestamp) -> Result<Expanded, StoreError> {
        self.ask(|reply| Request::Expand(at, reply)).await
    }

    /// Removes a part of what is left of a list that nothing needs any more and nobody has written to since `before`.
    pub async fn forget_lists(&self, before: Timestamp) -> Result<Forgotten, StoreError> {
        self.ask(|reply| Request::Forget(before, reply)).await
    }

    /// Stops what is on its way of a broadcast's lists, or lets it go on; on these accounts, or on all. Returns the
    /// accounts concerned.
    pub async fn decide_lists(
        &self,
        broadcast: &BroadcastId,
        accounts: &[AccountId],
        decision: ListDecision,
        at: Timestamp,
        actor: Actor,
    ) -> Result<Vec<AccountId>, StoreError> {
        let asked = DecideLists {
            broadcast: broadcast.clone(),
            accounts: accounts.to_vec(),
            decision,
            at,
            actor,
        };
        self.ask(|reply| Request::Decide(asked, reply)).await
    }

    /// The lists of a broadcast and how far they have come.
    pub async fn expansions(&self, broadcast: &BroadcastId) -> Result<Vec<Expansion>, StoreError> {
        summary::expansions(&self.inner.readers, broadcast).await
    }

    /// The accounts of a broadcast that have recipients.
    pub async fn listed_accounts(&self, broadcast: &BroadcastId) -> Result<Vec<AccountId>, StoreError> {
        summary::accounts(&self.inner.readers, broadcast).await
    }

    /// The recipients' deliveries of an account in their order, after the one numbered `after`, at most `limit`; with
    /// the number of the last one.
    pub async fn listed(
        &self,
        broadcast: &BroadcastId,
        account: &AccountId,
        after: i64,
        limit: usize,
    ) -> Result<(Vec<Delivery>, i64), StoreError> {
        summary::listed(&self.inner.readers, broadcast, account, after, limit).await
    }

    /// Who is left out, the latest first.
    pub async fn suppressed(&self, limit: usize) -> Result<Vec<Suppressed>, StoreError> {
        read::suppressed(&self.inner.readers, limit).await
    }
}
