//! The reminders at work: what has come near its day and has not been told, in one mail for each of those who are to be told.
//! That it was told is written with the mails, in one commit.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::app::{App, AppError};
use crate::clock::{Timestamp, later};
use crate::config::register::SendTo;
use crate::model::{AccountId, Actor, Letter, MailKind, MailMark, Recipient};
use crate::register::closing;
use crate::register::remind::{self, Due, Matter};
use crate::store::{Entry, Mail, MailChange};

/// How long a reminder is tried: it says nothing that a day more would make wrong.
const TRY_FOR: Duration = Duration::from_hours(7 * 24);

impl App {
    /// Reminds those who are to do something for the register. Harmless to repeat. Returns how many mails were written.
    pub async fn remind(&self) -> Result<usize, AppError> {
        let config = self.config();
        if config.register.reminders.send == SendTo::Off {
            return Ok(0);
        }
        let now = self.now();
        let attestations = self.store().attestations().await?;
        let all = remind::due(&config, &attestations, &self.observed().await?, now);
        let fresh = remind::fresh(all, &self.store().mail_marks().await?);
        if fresh.is_empty() {
            return Ok(0);
        }
        let mut closings: BTreeMap<AccountId, String> = BTreeMap::new();
        for due in fresh.iter().filter(|due| matches!(due.matter, Matter::Stale(_))) {
            let signed = self.store().closing(&due.account.id).await?;
            let text = closing::checklist(&config, due.account, &signed).map_err(AppError::Invalid)?;
            closings.insert(due.account.id.clone(), text);
        }
        let letters = remind::letters(&config, &fresh, &closings, now).map_err(AppError::Invalid)?;
        let marks: Vec<MailMark> = fresh.iter().map(|due| due.mark.clone()).collect();
        let about = digest(&marks);
        let mails: Vec<Mail> = letters
            .into_iter()
            .map(|(to, letter)| {
                Mail::new(
                    MailKind::Reminder,
                    &about,
                    &to,
                    Some(letter),
                    now,
                    later(now, TRY_FOR),
                )
            })
            .collect();
        let many = mails.len();
        let entry = Entry {
            at: now,
            actor: Actor::daemon(),
            kind: "reminder",
            broadcast: None,
            delivery: None,
            body: json!({
                "items": fresh.iter().map(Due::record).collect::<Vec<_>>(),
                "mails": mails.iter().map(|mail| &mail.id).collect::<Vec<_>>(),
            }),
        };
        let write = MailChange::Write(mails, marks, Some(entry));
        if !self.store().mail(write, now).await? {
            // Another node was faster with some of it; what is left is looked at again.
            return Ok(0);
        }
        tracing::info!(items = fresh.len(), mails = many, "reminders are written");
        self.mails_wanted.notify_one();
        Ok(many)
    }
}

impl App {
    /// The same reminder to those who are told of what has no other recipient; none if it was to one of them.
    pub(in crate::app) fn reminds_instead(&self, mail: &Mail, now: Timestamp) -> Vec<Mail> {
        let config = self.config();
        let to = &config.register.reminders.to;
        let (Some(letter), false) = (&mail.letter, to.contains(&mail.recipient)) else {
            return Vec::new();
        };
        let missed = mail.recipient.address();
        let letter = Letter {
            subject: letter.subject.clone(),
            text: format!("Gick inte fram till {missed}.\n\n{}", letter.text),
            // Made from the text, so that both say it.
            html: None,
        };
        // Those may have a part of the same reminder themselves: this one is about the mail that was lost.
        let about = mail.id.as_str();
        let deadline = later(now, TRY_FOR);
        let write =
            |to: &Recipient| Mail::new(MailKind::Reminder, about, to, Some(letter.clone()), now, deadline);
        to.iter().map(write).collect()
    }
}

/// What a reminder is about, in short: the same things at the same stages are the same reminder.
fn digest(marks: &[MailMark]) -> String {
    let mut digest = Sha256::new();
    for mark in marks {
        digest.update(format!("{}\n{}\n{}\n", mark.name, mark.line, mark.at));
    }
    hex::encode(digest.finalize()).chars().take(32).collect()
}
