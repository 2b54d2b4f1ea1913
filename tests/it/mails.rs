//! Mails that recur, with the time given: a year of certificates passes in seconds, over restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vardkase::app::App;
use vardkase::clock::{Clock, TestClock, Timestamp};
use vardkase::model::{Letter, Look, MailKind, Observation, Recipient, Sign, Subject, Trouble};
use vardkase::store::{Keep, Mail, MailChange};
use vardkase::wall::{Posted, Wall};

use crate::support::{Account, Plan, World};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A daemon's application whose clock stands until it is moved, and that can be started anew.
pub struct Still {
    pub world: World,
    pub clock: Arc<TestClock>,
    pub app: Arc<App>,
    wall: Arc<Wall>,
}

impl Still {
    /// Boxed here once: what opens everything is too large for its callers' frames.
    pub fn open(accounts: Vec<Account>, watch: &str, now: &str) -> futures::future::BoxFuture<'static, Self> {
        let (watch, now) = (watch.to_owned(), at(now));
        Box::pin(async move {
            let mut plan = Plan::of(accounts);
            plan.watch = watch;
            let world = World::open(plan).await;
            // Whose addresses are the municipality's own.
            let text = std::fs::read_to_string(&world.config).unwrap();
            let hosts = "hosts = [\"nassjo.se\"]\nlanguages = [\"sv\"]";
            std::fs::write(&world.config, text.replacen("languages = [\"sv\"]", hosts, 1)).unwrap();
            let clock = Arc::new(TestClock::at(now));
            let wall = world.practice(&clock).await;
            let app = world.app(&clock, &wall).await;
            Self {
                world,
                clock,
                app,
                wall,
            }
        })
    }

    /// Ends it and starts it again, with what is on disk.
    pub async fn restart(&mut self) {
        self.app.store().close().await;
        self.app = self.world.app(&self.clock, &self.wall).await;
    }

    /// Moves the clock to then.
    pub fn set(&self, to: Timestamp) {
        self.clock.advance(to.duration_since(self.clock.now()));
    }

    /// The mails that arrived, by subject.
    pub fn arrived(&self) -> BTreeMap<String, Vec<Posted>> {
        let mut all: BTreeMap<String, Vec<Posted>> = BTreeMap::new();
        for mail in self.world.confirmations() {
            all.entry(mail.subject.clone().unwrap_or_default())
                .or_default()
                .push(mail);
        }
        all
    }

    /// What the journal has of a kind.
    pub async fn records(&self, kind: &str) -> Vec<serde_json::Value> {
        let all = self.app.journal(0, 10_000, None).await.unwrap();
        let of = all.iter().filter(|record| record.kind == kind);
        of.map(|record| serde_json::from_str(&record.body).unwrap())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_certificates_goes_out_each_once_over_restarts_and_both_nights_of_the_clock() {
    let watch = "[verification]\nevery = \"24h\"\nprofile_every = \"30days\"\ncertificate = \"30 2 * * SUN\"\n\
                 certificate_to = [\"kommunikation@nassjo.se\"]\n";
    let accounts = vec![Account::new("skarmar", "file")];
    let mut still = Still::open(accounts, watch, "2026-11-30T12:00:00Z").await;
    let end = at("2027-11-30T12:00:00Z");
    // The daemon is down over Christmas: three Sundays.
    let down = at("2026-12-19T12:00:00Z")..at("2027-01-09T12:00:00Z");
    let mut next = still.app.look_at_certificate().await.unwrap().unwrap();
    let mut rounds = 0;
    while next < end {
        still.set(next);
        if !down.contains(&next) {
            still.app.look_at_certificate().await.unwrap();
            rounds += 1;
            if rounds % 5 == 0 {
                still.restart().await;
            }
            // Looked at again, by the same or by another start, nothing more is due.
            still.app.look_at_certificate().await.unwrap();
            still.app.send_mails().await.unwrap();
            still.app.send_mails().await.unwrap();
        }
        let config = still.app.config();
        next = config
            .verification
            .certificate
            .as_ref()
            .unwrap()
            .next(still.clock.now())
            .unwrap();
    }
    let records = still.records("certificate").await;
    let due: Vec<&str> = records
        .iter()
        .map(|record| record["due"].as_str().unwrap())
        .collect();
    assert_eq!(due.len(), 52 - 3, "{due:?}");
    let mut each = due.clone();
    each.sort_unstable();
    each.dedup();
    assert_eq!(each.len(), due.len(), "each once");
    // The spring night has no 02.30; the autumn night has two.
    assert!(due.contains(&"2027-03-28T01:00:00Z"), "{due:?}");
    assert!(due.contains(&"2027-10-31T00:30:00Z"), "{due:?}");
    assert!(!due.contains(&"2027-10-31T01:30:00Z"), "{due:?}");
    let mails = still.arrived();
    let told = &mails
        .get("Intyg: kontot nås")
        .unwrap_or_else(|| panic!("{:?}", mails.keys()));
    assert_eq!(told.len(), 52 - 3, "{:?}", mails.keys());
    // What was missed over Christmas is told with the first one after it.
    let after: Vec<&Posted> = told.iter().filter(|mail| mail.text.contains("uteblev")).collect();
    assert_eq!(after.len(), 1);
    assert!(
        after[0].text.contains("3 intyg före det här uteblev"),
        "{}",
        after[0].text
    );
    assert_eq!(still.records("mail").await.len(), 52 - 3);
    still.app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_missed_comes_late_once_and_one_that_no_relay_took_comes_once_it_does() {
    let watch = "[verification]\ncertificate = \"0 7 * * MON\"\n";
    let accounts = vec![Account::new("skarmar", "file")];
    let mut still = Still::open(accounts, watch, "2026-11-29T12:00:00Z").await;
    still.app.look_at_certificate().await.unwrap();
    // Down on Monday at seven, and back at nine; no relay takes mail then.
    still.restart().await;
    still.set(at("2026-11-30T08:00:00Z"));
    let busy = vardkase::wall::How::Answer {
        status: 451,
        headers: Vec::new(),
        body: None,
    };
    still.world.fault("confirmation", busy, 0);
    still.app.look_at_certificate().await.unwrap();
    let next = still.app.send_mails().await.unwrap().unwrap();
    assert!(next > still.clock.now(), "it waits before the next try");
    assert_eq!(still.world.confirmations().len(), 0);
    still.restart().await;
    still.world.heal("confirmation");
    still.app.look_at_certificate().await.unwrap();
    still.app.send_mails().await.unwrap();
    assert_eq!(still.world.confirmations().len(), 0, "not before its time");
    still.set(next);
    still.app.send_mails().await.unwrap();
    still.restart().await;
    still.set(at("2026-12-01T08:00:00Z"));
    still.app.look_at_certificate().await.unwrap();
    still.app.send_mails().await.unwrap();
    let mails = still.arrived();
    // Nobody is named: those of [confirmation], each once.
    let told = &mails
        .get("Intyg: kontot nås")
        .unwrap_or_else(|| panic!("{mails:#?}"));
    assert_eq!(told.len(), crate::support::CRISIS.len(), "{mails:#?}");
    let due = "Det skulle ha skickats måndag 30 november 2026 kl. 07.00";
    assert!(told[0].text.contains(due), "{}", told[0].text);
    let records = still.records("certificate").await;
    assert_eq!((records.len(), &records[0]["late"]), (1, &true.into()));
    still.app.store().close().await;
}

/// What the reminders told, by the day on which they came.
async fn reminded(still: &Still) -> Vec<String> {
    let mut all = Vec::new();
    for record in still.records("reminder").await {
        for item in record["items"].as_array().unwrap() {
            let word = |key: &str| item[key].as_str().unwrap_or("–").to_owned();
            all.push(format!("{} {} {}", word("account"), word("what"), word("stage")));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_the_register_is_reminded_of_each_stage_once_over_restarts() {
    use vardkase::app::register::AttestRequest;
    use vardkase::model::Actor;
    use vardkase::register::attest::What;

    let watch = "[verification]\ncertificate = \"off\"\n[register.reminders]\nsend = \"owner\"\nto = [\"kommunikation@nassjo.se\"]\n";
    let accounts = vec![
        Account::new("mastodon", "mastodon").with(
            "[account.mastodon.register]\ncontact = \"biblioteket@nassjo.se\"\ndecided_on = \"2020-01-01\"",
        ),
        Account::new("intranat", "webhook"),
    ];
    let mut still = Still::open(accounts, watch, "2026-11-01T08:00:00Z").await;
    // Followed up and attested: nothing is to be said.
    for what in What::ALL {
        let request = AttestRequest {
            account: "mastodon".parse().unwrap(),
            what,
            evidence: "Kontrollerat".to_owned(),
            until: Some("2027-05-31".parse().unwrap()),
        };
        still.app.attest(request, Actor::daemon()).await.unwrap();
    }
    let mut rounds = 0;
    while still.clock.now() < at("2027-06-15T08:00:00Z") {
        still.app.remind().await.unwrap();
        still.app.send_mails().await.unwrap();
        rounds += 1;
        if rounds % 10 == 0 {
            still.restart().await;
            still.app.remind().await.unwrap();
        }
        still.clock.advance(jiff::SignedDuration::from_hours(12));
    }
    let mut expected: Vec<String> = ["30-days", "7-days", "overdue"]
        .iter()
        .map(|stage| format!("mastodon yearly-follow-up {stage}"))
        .collect();
    for stage in ["30-days", "7-days", "overdue"] {
        for what in What::ALL.into_iter().filter(|what| *what != What::YearlyFollowUp) {
            expected.push(format!("mastodon {what} {stage}"));
        }
    }
    assert_eq!(reminded(&still).await, expected);
    // Six mails, all of them to the function that answers for the account.
    let mails = still.world.confirmations();
    let to: Vec<&str> = mails
        .iter()
        .filter_map(|mail| mail.recipient.as_deref())
        .collect();
    assert_eq!(to, ["biblioteket@nassjo.se"; 6], "{mails:#?}");
    assert!(
        mails[0]
            .text
            .contains("vardkase attest mastodon yearly-follow-up --evidence"),
        "{}",
        mails[0].text
    );
    still.app.store().close().await;
}

fn status(status: u16) -> vardkase::wall::How {
    vardkase::wall::How::Answer {
        status,
        headers: Vec::new(),
        body: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_cannot_be_read_any_more_is_not_certified_as_read() {
    let watch =
        "[verification]\ncertificate = \"0 7 * * *\"\ncertificate_to = [\"kommunikation@nassjo.se\"]\n";
    let accounts = vec![Account::new("mastodon", "mastodon")];
    let still = Still::open(accounts, watch, "2026-11-30T05:30:00Z").await;
    let start = still.clock.now();
    still.app.look_at_certificate().await.unwrap();
    // The first looks on schedule are spread over a day.
    let daemon = vardkase::model::Actor::daemon();
    still.app.verify(&[], false, daemon).await.unwrap();
    // The service counts requests, as the real one does.
    for round in 0..=25 {
        if round == 1 {
            still.world.fault_at("mastodon", "/statuses", status(503));
        }
        still.app.look_around(start).await.unwrap();
        still.app.look_at_certificate().await.unwrap();
        still.app.send_mails().await.unwrap();
        still.clock.advance(jiff::SignedDuration::from_hours(4));
    }
    let mails = still.arrived();
    let told: Vec<&str> = mails.values().flatten().map(|mail| mail.text.as_str()).collect();
    let said = |words: &str| told.iter().filter(|text| text.contains(words)).count();
    assert_eq!(told.len(), 5, "{told:#?}");
    assert_eq!(said("Profilen lästes måndag 30 november 2026"), 3, "{told:#?}");
    let old = "Profilen lästes senast måndag 30 november 2026";
    assert_eq!(said(old), 2, "{told:#?}");
    assert_eq!(said("för länge sedan för att säga något om den"), 2, "{told:#?}");
    // It is read again, and known anew.
    still.world.heal("mastodon");
    still.clock.advance(jiff::SignedDuration::from_hours(24));
    still.app.look_around(start).await.unwrap();
    still.app.look_at_certificate().await.unwrap();
    still.app.send_mails().await.unwrap();
    let mails = still.arrived();
    let told: Vec<&str> = mails.values().flatten().map(|mail| mail.text.as_str()).collect();
    let old = told.iter().filter(|text| text.contains("för länge sedan"));
    assert_eq!((told.len(), old.count()), (6, 2), "{told:#?}");
    still.app.store().close().await;
}

const WATCH: &str = "[verification]\ncertificate = \"off\"\n[alarm]\nto = [\"larm@nassjo.se\"]\n";

/// A mail that waits.
fn waiting(still: &Still, kind: MailKind, about: &str, until: &str) -> Mail {
    let letter = Letter {
        subject: format!("Om {about}"),
        text: "Det är fel.".to_owned(),
        html: None,
    };
    let to = Recipient::new("larm@nassjo.se");
    Mail::new(kind, about, &to, Some(letter), still.clock.now(), at(until))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_whose_time_has_passed_is_given_up_and_not_tried() {
    let accounts = vec![Account::new("skarmar", "file")];
    let mut still = Still::open(accounts, WATCH, "2026-11-30T08:00:00Z").await;
    let early = waiting(&still, MailKind::Reminder, "tidigt", "2026-11-30T09:00:00Z");
    let late = waiting(&still, MailKind::Reminder, "sent", "2026-11-30T09:00:01Z");
    let write = MailChange::Write(vec![early, late], Vec::new(), None);
    assert!(still.app.store().mail(write, still.clock.now()).await.unwrap());
    // The daemon was down meanwhile.
    still.restart().await;
    still.set(at("2026-11-30T09:00:00Z"));
    still.app.send_mails().await.unwrap();
    let arrived: Vec<String> = still.arrived().into_keys().collect();
    assert_eq!(arrived, ["Om sent"]);
    let ended = still
        .app
        .store()
        .mails_about(MailKind::Reminder, "tidigt")
        .await
        .unwrap();
    assert_eq!((ended[0].sent, ended[0].tries), (Some(false), 0));
    assert_eq!(ended[0].error.as_ref().unwrap().code, "expired");
    let records = still.records("mail").await;
    let of = records.iter().find(|record| record["about"] == "tidigt").unwrap();
    assert_eq!(
        (&of["state"], &of["error"], &of["tries"]),
        (&"given-up".into(), &"expired".into(), &0.into())
    );
    still.app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owed_alarm_does_not_come_after_its_own_end() {
    let accounts = vec![Account::new("skarmar", "file")];
    let still = Still::open(accounts, WATCH, "2026-11-30T08:00:00Z").await;
    let store = still.app.store();
    let sees = async |subject: &str, look: Look, trouble: Option<Trouble>| {
        let sign = trouble.map(|trouble| Sign {
            trouble,
            text: "Tjänsten svarar inte.".to_owned(),
            remedy: "Fråga igen.".to_owned(),
            step: None,
        });
        let subject: Subject = subject.parse().unwrap();
        let keep = Keep {
            observation: Observation::new(subject, look, sign.into_iter().collect()),
            at: still.clock.now(),
            took: Duration::ZERO,
            patience: BTreeMap::new(),
        };
        still.app.store().keep(keep).await.unwrap();
    };
    // What was told to others, and is owed to this one; what happened in a moment is owed too.
    let owe = async || {
        let due = still
            .app
            .store()
            .notices_due(still.clock.now(), 10)
            .await
            .unwrap();
        let ids: Vec<i64> = due.iter().map(|notice| notice.id).collect();
        let about = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let mut mail = waiting(&still, MailKind::Alarm, &about, "2026-12-01T08:00:00Z");
        mail.not_before = at("2026-11-30T08:05:00Z");
        let told = Ok("mail to 1 of 2".to_owned());
        still
            .app
            .store()
            .noticed(ids, still.clock.now(), told, vec![mail])
            .await
            .unwrap();
        format!("Om {about}")
    };
    sees("skarmar", Look::Reach, Some(Trouble::NoAnswer)).await;
    let over = owe().await;
    sees("daemon", Look::Event, Some(Trouble::Restart)).await;
    let happened = owe().await;
    sees("daemon", Look::Reach, Some(Trouble::Disk)).await;
    let lasts = owe().await;
    still.set(at("2026-11-30T08:04:00Z"));
    sees("skarmar", Look::Reach, None).await;
    let end = owe().await;
    still.set(at("2026-11-30T08:05:00Z"));
    still.app.send_mails().await.unwrap();
    let arrived: std::collections::BTreeSet<String> = still.arrived().into_keys().collect();
    assert_eq!(arrived, [happened, lasts, end].into(), "{over} is over");
    let records = still.records("mail").await;
    let given_up: Vec<_> = records
        .iter()
        .filter(|record| record["state"] == "given-up")
        .collect();
    assert_eq!(given_up.len(), 1, "{records:#?}");
    assert_eq!(given_up[0]["error"], "over");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reminder_that_the_relay_refuses_goes_to_the_unit() {
    let watch = "[verification]\ncertificate = \"off\"\n[register.reminders]\nsend = \"owner\"\nto = [\"kommunikation@nassjo.se\"]\n";
    let accounts =
        vec![Account::new("mastodon", "mastodon").with(
            "[account.mastodon.register]\ncontact = \"slutat@nassjo.se\"\ndecided_on = \"2020-01-01\"",
        )];
    let still = Still::open(accounts, watch, "2026-11-01T08:00:00Z").await;
    assert_eq!(still.app.remind().await.unwrap(), 1);
    still.world.fault("confirmation", status(550), 0);
    still.app.send_mails().await.unwrap();
    still.world.heal("confirmation");
    still.app.send_mails().await.unwrap();
    let mails = still.world.confirmations();
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert_eq!(mails[0].recipient.as_deref(), Some("kommunikation@nassjo.se"));
    assert!(
        mails[0].text.contains("Gick inte fram till slutat@nassjo.se."),
        "{}",
        mails[0].text
    );
    assert!(
        mails[0].text.contains("vardkase attest mastodon"),
        "{}",
        mails[0].text
    );
    let records = still.records("mail").await;
    let states: Vec<&str> = records
        .iter()
        .map(|record| record["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["given-up", "sent"], "{records:#?}");
    assert_eq!(
        (&records[0]["instead"][0], &records[0]["tries"]),
        (&records[1]["mail"], &1.into())
    );
    // Refused there too, nobody is left to tell: it ends.
    still.clock.advance(jiff::SignedDuration::from_hours(24 * 8));
    still.app.send_mails().await.unwrap();
    assert_eq!(still.records("mail").await.len(), 2);
    still.app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_turned_off_has_missed_nothing_when_it_is_turned_on_again() {
    let on = "certificate = \"0 7 * * MON\"";
    let accounts = vec![Account::new("skarmar", "file")];
    let mut still = Still::open(
        accounts,
        &format!("[verification]\n{on}\n"),
        "2026-11-29T12:00:00Z",
    )
    .await;
    still.app.look_at_certificate().await.unwrap();
    let text = std::fs::read_to_string(&still.world.config).unwrap();
    let off = text.replacen(on, "certificate = \"off\"", 1);
    assert_ne!(off, text);
    std::fs::write(&still.world.config, off).unwrap();
    still.restart().await;
    assert_eq!(still.app.look_at_certificate().await.unwrap(), None);
    std::fs::write(&still.world.config, text).unwrap();
    still.set(at("2026-12-16T12:00:00Z"));
    still.restart().await;
    still.app.look_at_certificate().await.unwrap();
    assert_eq!(still.records("certificate").await.len(), 0, "nobody wanted those");
    still.set(at("2026-12-21T06:00:00Z"));
    still.app.look_at_certificate().await.unwrap();
    still.app.send_mails().await.unwrap();
    let mails = still.arrived();
    let told = mails.values().flatten().next().unwrap();
    assert!(
        !told.text.contains("uteblev") && !told.text.contains("sent"),
        "{}",
        told.text
    );
    still.app.store().close().await;
}
