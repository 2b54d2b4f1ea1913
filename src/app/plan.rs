//! What a command would publish: compose and checks together, for `preview` and, a moment later, for `send`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::pictures::Pictures;
use super::request::{AccountPreview, Preview, SendRequest};
use super::{AppError, lists, order};
use crate::channel::{Pace, Transport};
use crate::check::{self, CheckInput, Finding, Level, link};
use crate::clock::{Timestamp, later};
use crate::compose::parts::{self, Whole};
use crate::compose::{self, Command, Plan, PreparedMessage, Room};
use crate::config::{Account, Config, Stage, Survey};
use crate::confirm::words;
use crate::model::{AccountId, Kind, Mode, Rendering, UnreachableBefore};

/// A command worked out: what would be accepted.
#[derive(Debug)]
pub struct Draft<'a> {
    /// What was asked.
    pub command: Command,
    /// Where to, in the order of the configuration.
    pub accounts: Vec<&'a Account>,
    /// What would go out; nothing if the fields are wrong or a text fits nowhere.
    pub plan: Option<Plan>,
    /// The same with the fallback link, where there is a first stage to wait for.
    pub alternative: Option<Plan>,
    /// Which accounts stand in for which: named only here, not by the command. Those they stand in for come first.
    pub stand_ins: Vec<StandIn>,
    /// When it would stop being true.
    pub valid_until: Timestamp,
    /// What the checks say.
    pub findings: Vec<Finding>,
    /// Accounts that are known not to answer, and who takes over at once.
    pub unreachable: Vec<UnreachableBefore>,
    /// The pictures that go with it.
    pub(super) pictures: Pictures,
}

/// An account that stands in for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// The account.
    pub account: AccountId,
    /// Those that name it as their fallback: addressed by the command, or standing in themselves.
    pub primaries: Vec<AccountId>,
}

/// Works a command out. `mode` is the alert's, or what was asked for; live if neither.
///
/// # Errors
/// [`AppError::Invalid`] if the request cannot be meant: no such message, account or group, a kind without an alert.
///
/// `stood_in` are the accounts whose post stands in the alert because they stood in for others: what they said is followed
/// up on them, whether or not they would be needed this time.
pub async fn draft<'a>(
    config: &'a Config,
    request: &SendRequest,
    stood_in: &BTreeSet<AccountId>,
    mode: Option<Mode>,
    now: Timestamp,
    http: &Transport,
) -> Result<Draft<'a>, AppError> {
    let message = config
        .messages
        .get(&request.message)
        .ok_or_else(|| unknown_message(config, request))?;
    let kind = kind(request)?;
    let names = if request.to.is_empty() {
        &message.to
    } else {
        &request.to
    };
    let mut accounts = config.select(names).map_err(AppError::Invalid)?;
    if accounts.is_empty() {
        return Err(AppError::Invalid(format!(
            "{} means no account",
            names.join(", ")
        )));
    }
    let command = Command {
        message: request.message.clone(),
        fields: request.fields.clone(),
        kind,
        mode: mode.unwrap_or(Mode::Live),
        languages: request.languages.clone(),
    };
    let valid_until = later(now, message.valid_for);
    let (mut stand_ins, mut unfit) = stand_ins(config, &accounts);
    let follow: Vec<&Account> = stand_ins
        .iter()
        .filter(|one| stood_in.contains(&one.account))
        .filter_map(|one| config.accounts.get(&one.account))
        .collect();
    if !follow.is_empty() {
        accounts.extend(follow);
        (stand_ins, unfit) = self::stand_ins(config, &accounts);
    }
    let standing_by = stand_ins
        .iter()
        .filter_map(|one| config.accounts.get(&one.account));
    let all = accounts.iter().copied().chain(standing_by.clone());
    let pictures = Pictures::of(request, message, config, all).await?;
    let work = Work {
        config,
        message,
        input: CheckInput {
            command: &command,
            message,
            municipality: &config.municipality,
            // Nothing yet: each look brings its own.
            plan: &Plan::default(),
            accounts: &accounts,
            valid_until,
            now,
        },
        stand_ins: &stand_ins,
    };
    let mut drawn = work.draw(&accounts, standing_by, &pictures);
    drawn.findings.extend(unfit);
    if let Some(plan) = &drawn.plan {
        drawn.findings.extend(answers(config, plan, http).await);
    }
    check::override_blocks(&mut drawn.findings, &request.overrides).map_err(AppError::Invalid)?;
    let Texts {
        plan,
        alternative,
        findings,
    } = drawn;
    Ok(Draft {
        command,
        accounts,
        plan: plan.map(|plan| pictures.give(plan)),
        alternative: alternative.map(|plan| pictures.give(plan)),
        stand_ins,
        valid_until,
        findings,
        unreachable: Vec::new(),
        pictures,
    })
}

impl<'a> Draft<'a> {
    /// Every account that something may go out on: those addressed, and those that stand in for them.
    pub fn everyone(&self, config: &'a Config) -> Vec<&'a Account> {
        let standing_by = self
            .stand_ins
            .iter()
            .filter_map(|one| config.accounts.get(&one.account));
        self.accounts.iter().copied().chain(standing_by).collect()
    }

    /// Who stands in for an account, of those that have a text: one that a check left out is stepped over.
    pub(super) fn takes_over(&self, plan: &Plan, id: &AccountId) -> Option<AccountId> {
        let mut at = id;
        // Each is met once: the configuration is checked for circles.
        for _ in 0..self.stand_ins.len() {
            let next = self.stand_ins.iter().find(|one| one.primaries.contains(at))?;
            if plan.accounts.iter().any(|(there, _)| *there == next.account) {
                return Some(next.account.clone());
            }
            at = &next.account;
        }
        None
    }

    /// The accounts that this one stands in for.
    fn stands_in_for(&self, id: &AccountId) -> &[AccountId] {
        let found = self.stand_ins.iter().find(|one| one.account == *id);
        found.map(|one| one.primaries.as_slice()).unwrap_or_default()
    }
}

/// What the texts of a command are worked out from.
struct Work<'a> {
    config: &'a Config,
    message: &'a PreparedMessage,
    input: CheckInput<'a>,
    stand_ins: &'a [StandIn],
}

/// The texts, and what the checks say of them.
#[derive(Default)]
struct Texts {
    plan: Option<Plan>,
    alternative: Option<Plan>,
    findings: Vec<Finding>,
}

impl Work<'_> {
    /// Fits, checks, and leaves out what cannot go without stopping the rest: accounts that stand in, and fallback links.
    fn draw<'a>(
        &self,
        accounts: &[&'a Account],
        standing_by: impl Iterator<Item = &'a Account>,
        pictures: &Pictures,
    ) -> Texts {
        let (command, municipality) = (self.input.command, &self.config.municipality);
        let rooms: Vec<(&AccountId, Room<'_>)> = accounts.iter().map(|a| (&a.id, (*a).into())).collect();
        let mut plan = match compose::plan(command, self.message, municipality, &rooms) {
            Ok(plan) => plan,
            Err(findings) => {
                return Texts {
                    findings,
                    ..Texts::default()
                };
            }
        };
        let mut findings = Vec::new();
        for account in standing_by {
            let joined = (&account.id, account.into());
            if let Err(why) = compose::join(&mut plan, command, self.message, municipality, joined) {
                findings.extend(why);
            }
        }
        findings.extend(check::run(&CheckInput {
            plan: &plan,
            ..self.input
        }));
        findings.extend(pictures.findings.iter().cloned());
        findings.extend(pictures.unchanged(accounts, command.kind));
        for finding in &mut findings {
            let stand_in = finding.account.as_ref().filter(|_| finding.level == Level::Block);
            let found = self.stand_ins.iter().find(|one| Some(&one.account) == stand_in);
            if let Some(StandIn { account, primaries }) = found {
                // Who only stands in never stops those who are meant.
                plan = plan.without(account);
                finding.level = Level::Warn;
                finding.text = format!(
                    "{} {account} ersätter då inte {}.",
                    finding.text,
                    named(primaries)
                );
            }
        }
        let alternative = self.alternative(&plan, &mut findings);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Texts {
            plan: Some(plan),
            alternative,
            findings,
        }
    }

    /// What goes if the first stage does not get out. An account that it cannot go to keeps the usual text then.
    fn alternative(&self, plan: &Plan, findings: &mut Vec<Finding>) -> Option<Plan> {
        let municipality = &self.config.municipality;
        let link = municipality.fallback_link.as_ref()?;
        if !order::waits(self.config, plan, self.stand_ins) {
            return None;
        }
        let waiting = plan
            .accounts
            .iter()
            .filter_map(|(id, _)| self.config.accounts.get(id));
        let rooms: Vec<(&AccountId, Room<'_>)> = waiting
            .filter(|account| account.stage == Stage::Normal)
            .map(|account| (&account.id, account.into()))
            .collect();
        let mut other = compose::alternative(self.input.command, self.message, municipality, &rooms, link)?;
        let input = CheckInput {
            plan: &other,
            ..self.input
        };
        let stopped: Vec<Finding> = check::CHECKS_OF_FALLBACK
            .iter()
            .flat_map(|check| (check.run)(&input))
            .filter(|finding| finding.level == Level::Block)
            .collect();
        for account in stopped.iter().filter_map(|finding| finding.account.as_ref()) {
            other = other.without(account);
        }
        let without: Vec<&str> = rooms
            .iter()
            .filter(|(id, _)| other.rendering(id).is_none())
            .map(|(id, _)| id.as_str())
            .collect();
        if !without.is_empty() {
            let text = format!(
                "Kommer webben inte ut går den vanliga texten ändå till {}: med reservlänken går den inte.",
                without.join(", ")
            );
            findings.push(Finding::warn("fallback-link", None, text));
        }
        Some(other)
    }
}

/// The posts of a text that makes a thread; none if it is one post.
fn thread(account: &Account, rendering: &Rendering, mode: Mode, sender: &str) -> Vec<String> {
    let whole = Whole::of(rendering, mode, sender);
    let posts = parts::split(&whole, &account.settings.text_rule()).unwrap_or_default();
    if posts.len() > 1 { posts } else { Vec::new() }
}

/// How long so many attempts take under a pace, in milliseconds: a burst goes at once and the rest evenly after it. How
/// long the service takes to answer comes on top.
fn takes_ms(pace: &Pace, attempts: usize) -> u64 {
    let each = pace.per.checked_div(pace.attempts).unwrap_or_default();
    let burst = usize::try_from(pace.burst.max(1)).unwrap_or(usize::MAX);
    let later = u128::try_from(attempts.saturating_sub(burst)).unwrap_or(u128::MAX);
    u64::try_from(each.as_nanos().saturating_mul(later) / 1_000_000).unwrap_or(u64::MAX)
}

/// How many attempts an account gets: its recipients, and what is pinned and unpinned.
fn attempts(account: &Account, kind: Kind, preview: &AccountPreview) -> usize {
    let edits = kind == Kind::Correction && account.corrects_by_edit;
    let moves = account.pins && !edits && preview.stands_in_for.is_none();
    let pins = usize::from(moves && kind != Kind::AllClear);
    // Of what went before, the latest is pinned.
    let unpins = usize::from(moves && kind != Kind::Initial);
    preview.recipients.unwrap_or(1) + pins + unpins
}

/// Accounts as they are listed in a sentence.
fn named(accounts: &[AccountId]) -> String {
    let names: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    words::listed(&names)
}

/// The accounts that stand in for those chosen, and for those that do, as long as the command does not go to them anyway;
/// each after those that it stands in for. And what is to be said of those that cannot.
fn stand_ins(config: &Config, accounts: &[&Account]) -> (Vec<StandIn>, Vec<Finding>) {
    let mut seen: BTreeSet<&AccountId> = accounts.iter().map(|account| &account.id).collect();
    let chosen = seen.clone();
    let mut next: Vec<&Account> = accounts.to_vec();
    let (mut found, mut findings): (Vec<StandIn>, Vec<Finding>) = (Vec::new(), Vec::new());
    while !next.is_empty() {
        let mut further = Vec::new();
        for account in next {
            let fallback = account.fallback.as_ref().and_then(|id| config.accounts.get(id));
            let Some(other) = fallback.filter(|other| !chosen.contains(&other.id)) else {
                continue;
            };
            if let Some(why) = cannot_stand_in(account, other) {
                let text = format!("{} kan inte ersätta {}: {why}.", other.id, account.id);
                findings.push(Finding::warn("fallback", Some(&account.id), text));
                continue;
            }
            match found.iter_mut().find(|one| one.account == other.id) {
                Some(known) => known.primaries.push(account.id.clone()),
                None => found.push(StandIn {
                    account: other.id.clone(),
                    primaries: vec![account.id.clone()],
                }),
            }
            if seen.insert(&other.id) {
                further.push(other);
            }
        }
        next = further;
    }
    // A chain that meets another one farther on has been found too early. There are no circles: the configuration is
    // checked for them.
    let mut placed: Vec<StandIn> = Vec::new();
    while !found.is_empty() {
        let waits = |one: &StandIn| found.iter().any(|other| one.primaries.contains(&other.account));
        let Some(index) = found.iter().position(|one| !waits(one)) else {
            break;
        };
        placed.push(found.remove(index));
    }
    (placed, findings)
}

/// Why an account cannot reach those whom another one reaches.
fn cannot_stand_in(account: &Account, other: &Account) -> Option<&'static str> {
    account.settings.list()?;
    if other.settings.list().is_none() {
        Some("det når inte mottagarna i listan")
    } else if account.settings.addresses_of() != other.settings.addresses_of() {
        Some("listorna har olika slags adresser")
    } else {
        None
    }
}

/// What is to be said of an account whose stand-in goes before the account itself has had its time.
fn too_slow(account: &Account, takes_ms: u64, stand_ins: &[StandIn]) -> Option<Finding> {
    let stand_in = stand_ins.iter().find(|one| one.primaries.contains(&account.id))?;
    let limit = account.fallback_after;
    if u128::from(takes_ms) <= limit.as_millis() {
        return None;
    }
    let text = format!(
        "Kontot behöver minst {} för att nå alla, men {} tar över efter {}: de som inte har nåtts då får meddelandet \
         därifrån i stället. Höj fallback_after, eller rate om tjänsten tillåter det.",
        words::span(Duration::from_millis(takes_ms)),
        stand_in.account,
        words::span(limit),
    );
    Some(Finding::warn("fallback", Some(&account.id), text))
}

/// Whether the page behind the link answers.
async fn answers(config: &Config, plan: &Plan, http: &Transport) -> Option<Finding> {
    let page = &plan.renderings.first()?.link;
    let limit: Duration = config.checks.link_timeout;
    link::probe(http, page, &config.municipality, limit).await
}

/// What the request does to its alert.
fn kind(request: &SendRequest) -> Result<Kind, AppError> {
    match (&request.alert, request.kind) {
        (None, None | Some(Kind::Initial)) => Ok(Kind::Initial),
        (None, Some(kind)) => Err(AppError::Invalid(format!(
            "{kind} needs the alert that it goes under: --alert ID; `vardkase status` lists them"
        ))),
        (Some(_), None | Some(Kind::Initial)) => Err(AppError::Invalid(
            "a message under an alert needs --kind update, correction or all-clear".to_owned(),
        )),
        (Some(_), Some(kind)) => Ok(kind),
    }
}

fn unknown_message(config: &Config, request: &SendRequest) -> AppError {
    let known: Vec<&str> = config
        .messages
        .keys()
        .map(crate::model::MessageId::as_str)
        .collect();
    let nearest = known
        .iter()
        .max_by(|a, b| {
            strsim::jaro_winkler(a, request.message.as_str())
                .total_cmp(&strsim::jaro_winkler(b, request.message.as_str()))
        })
        .copied()
        .unwrap_or_default();
    AppError::Invalid(format!(
        "there is no prepared message {}; the nearest is {nearest}; there are: {}",
        request.message,
        known.join(", ")
    ))
}

/// The preview of a command that was worked out, with what was found in the lists of its accounts.
pub fn preview(
    config: &Config,
    request: &SendRequest,
    mut draft: Draft<'_>,
    surveys: &BTreeMap<AccountId, Arc<Survey>>,
) -> Preview {
    let useless = |account: &&Account| {
        surveys
            .get(&account.id)
            .is_some_and(|found| found.useless().is_some())
    };
    let only = draft.accounts.iter().all(useless);
    for account in draft.everyone(config) {
        if let (Some(list), Some(found)) = (account.settings.list(), surveys.get(&account.id)) {
            let (why, first) = (found.useless(), found.named.first().map(ToString::to_string));
            let state = lists::State {
                useless: why.as_deref(),
                faults: found.faults,
                first: first.as_deref(),
            };
            let only = only && draft.stands_in_for(&account.id).is_empty();
            draft
                .findings
                .extend(lists::finding(&account.id, list, state, only));
        }
    }
    let recipients = |account: &Account| {
        let found = surveys.get(&account.id)?;
        Some(usize::try_from(found.entries).unwrap_or(usize::MAX))
    };
    let everyone = draft.everyone(config);
    let accounts: Vec<AccountPreview> = everyone
        .iter()
        .map(|account| {
            let rendering = draft.plan.as_ref().and_then(|plan| plan.rendering(&account.id));
            let rule = account.settings.text_rule();
            AccountPreview {
                account: account.id.clone(),
                channel: account.channel.id.to_owned(),
                stands_in_for: draft.stands_in_for(&account.id).first().cloned(),
                also_for: draft.stands_in_for(&account.id).iter().skip(1).cloned().collect(),
                proof: super::proof(account),
                recipients: recipients(account),
                variant: rendering.map(|r| r.variant),
                text: rendering.map(|r| r.text.clone()),
                shown: rendering
                    .map(|r| account.settings.as_shown(r, draft.command.kind))
                    .unwrap_or_default(),
                alternative_text: draft
                    .alternative
                    .as_ref()
                    .and_then(|plan| plan.rendering(&account.id))
                    .map(|r| r.text.clone()),
                parts: rendering
                    .map(|r| thread(account, r, draft.command.mode, &config.municipality.name))
                    .unwrap_or_default(),
                count: rendering.map(|r| r.count),
                limit: rendering.map_or(rule.limit, |r| r.limit),
                unit: rule.unit,
                cost: rendering
                    .and_then(|r| account.settings.cost(&r.text, recipients(account).unwrap_or(1))),
                takes_ms: 0,
                picture: draft.pictures.preview(account),
                findings: draft
                    .findings
                    .iter()
                    .filter(|f| f.account.as_ref() == Some(&account.id))
                    .cloned()
                    .collect(),
            }
        })
        .collect();
    let accounts: Vec<AccountPreview> = accounts
        .into_iter()
        .zip(&everyone)
        .map(|(preview, account)| {
            let takes_ms = takes_ms(&account.pace, attempts(account, draft.command.kind, &preview));
            let mut findings = preview.findings;
            // Nobody waits for an account that is known not to answer.
            if draft.unreachable.iter().all(|one| one.account != account.id) {
                findings.extend(too_slow(account, takes_ms, &draft.stand_ins));
            }
            AccountPreview {
                takes_ms,
                findings,
                ..preview
            }
        })
        .collect();
    let longest = |stage: Stage| {
        let of_stage = accounts
            .iter()
            .zip(&draft.accounts)
            .filter(|(_, a)| a.stage == stage);
        of_stage.map(|(preview, _)| preview.takes_ms).max().unwrap_or(0)
    };
    let takes_ms = longest(Stage::First).saturating_add(longest(Stage::Normal));
    let first = draft.plan.as_ref().and_then(|plan| plan.renderings.first());
    Preview {
        message: request.message.clone(),
        kind: draft.command.kind,
        mode: draft.command.mode,
        languages: first.map_or_else(|| request.languages.clone(), |r| r.languages.clone()),
        headline: draft
            .plan
            .as_ref()
            .map(|plan| plan.headline.clone())
            .unwrap_or_default(),
        link: first.map(|r| r.link.clone()),
        valid_until: draft.valid_until,
        accounts,
        takes_ms,
        blocked: check::is_blocked(&draft.findings),
        findings: draft
            .findings
            .into_iter()
            .filter(|f| f.account.is_none())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_pace() {
        let pace = |attempts, seconds, burst| Pace {
            attempts,
            per: Duration::from_secs(seconds),
            burst,
            parallel: 8,
        };
        for (pace, attempts, expected) in [
            (pace(10, 1, 5), 1, 0),
            (pace(10, 1, 5), 5, 0),
            (pace(10, 1, 5), 6, 100),
            (pace(10, 1, 5), 1_000_000, 99_999_500),
            (pace(200, 86_400, 30), 31, 432_000),
            // No limit at all.
            (pace(0, 0, 0), 1_000_000, 0),
            (pace(1, 2, 0), 3, 4_000),
        ] {
            assert_eq!(takes_ms(&pace, attempts), expected, "{pace:?} {attempts}");
        }
    }
}
