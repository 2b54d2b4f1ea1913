//! One command for all its accounts: what would go out, exactly.

use std::collections::BTreeMap;

use url::Url;

use super::fit::{Filling, does_not_fit};
use super::template::{self, Filled};
use super::{Command, PreparedMessage, Room, fields, kind_word, language_word, layout};
use crate::check::Finding;
use crate::config::Municipality;
use crate::model::{AccountId, Lang, PictureRef, Rendering};

/// Longest headline, in characters: it is the subject of a mail.
const HEADLINE_LIMIT: usize = 200;

/// What would go out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The headline in the first language, with the marking, as people know the alert by.
    pub headline: String,
    /// The distinct renderings.
    pub renderings: Vec<Rendering>,
    /// For each account, in the order given, the index of its rendering.
    pub accounts: Vec<(AccountId, usize)>,
}

impl Plan {
    /// What would go out on `account`.
    pub fn rendering(&self, account: &AccountId) -> Option<&Rendering> {
        let (_, index) = self.accounts.iter().find(|(id, _)| id == account)?;
        self.renderings.get(*index)
    }

    /// The same with each account's picture. Accounts share a rendering as long as they share its picture.
    #[must_use]
    pub fn pictured(self, of: impl Fn(&AccountId) -> Option<PictureRef>) -> Self {
        let mut pictured = Self {
            headline: self.headline,
            renderings: Vec::with_capacity(self.renderings.len()),
            accounts: Vec::with_capacity(self.accounts.len()),
        };
        for (account, index) in self.accounts {
            let Some(plain) = self.renderings.get(index) else {
                continue;
            };
            let rendering = Rendering {
                picture: of(&account),
                ..plain.clone()
            };
            pictured.add(account, rendering);
        }
        pictured
    }

    /// The same without one account, and without a rendering that only it had.
    #[must_use]
    pub fn without(self, left_out: &AccountId) -> Self {
        let mut rest = Self {
            headline: self.headline.clone(),
            renderings: Vec::with_capacity(self.renderings.len()),
            accounts: Vec::with_capacity(self.accounts.len()),
        };
        for (account, rendering) in self.each().filter(|(account, _)| *account != left_out) {
            rest.add(account.clone(), rendering.clone());
        }
        rest
    }

    fn add(&mut self, account: AccountId, rendering: Rendering) {
        let known = self.renderings.iter().position(|one| *one == rendering);
        let index = known.unwrap_or_else(|| {
            self.renderings.push(rendering);
            self.renderings.len() - 1
        });
        self.accounts.push((account, index));
    }

    /// Every account with what would go out on it.
    pub fn each(&self) -> impl Iterator<Item = (&AccountId, &Rendering)> {
        self.accounts
            .iter()
            .filter_map(|(account, index)| Some((account, self.renderings.get(*index)?)))
    }
}

/// Fills in the message and fits it to each account. Each text is rendered once, however many accounts there are.
///
/// # Errors
/// Every fault of the fields; or, if the fields are right, every account that no variant fits, and a headline that is
/// too long. All block.
pub fn plan<'a, R: Copy + Into<Room<'a>>>(
    command: &Command,
    message: &PreparedMessage,
    municipality: &Municipality,
    accounts: &[(&AccountId, R)],
) -> Result<Plan, Vec<Finding>> {
    let link = layout::link(municipality, &message.page).map_err(|error| {
        let text = format!("Sidan {} går inte att länka till: {error}", message.page);
        vec![Finding::block("link", None, text)]
    });
    linked(command, message, municipality, accounts, link)
}

/// Takes one account more into a plan that stands: one that goes out only if another does not.
///
/// # Errors
/// Why nothing can go out on it. The plan is then as it was.
pub fn join(
    plan: &mut Plan,
    command: &Command,
    message: &PreparedMessage,
    municipality: &Municipality,
    account: (&AccountId, Room<'_>),
) -> Result<(), Vec<Finding>> {
    let alone = self::plan(command, message, municipality, &[account])?;
    for (account, rendering) in alone.each() {
        plan.add(account.clone(), rendering.clone());
    }
    Ok(())
}

/// The same with another link: what goes when the page behind the usual one is not there. Accounts that it does not fit
/// are left out; `None` if the command itself is wrong.
pub fn alternative<'a, R: Copy + Into<Room<'a>>>(
    command: &Command,
    message: &PreparedMessage,
    municipality: &Municipality,
    accounts: &[(&AccountId, R)],
    link: &Url,
) -> Option<Plan> {
    let fits: Vec<_> = accounts
        .iter()
        .filter(|one| {
            linked(
                command,
                message,
                municipality,
                std::slice::from_ref(*one),
                Ok(link.clone()),
            )
            .is_ok()
        })
        .copied()
        .collect();
    linked(command, message, municipality, &fits, Ok(link.clone())).ok()
}

fn linked<'a, R: Copy + Into<Room<'a>>>(
    command: &Command,
    message: &PreparedMessage,
    municipality: &Municipality,
    accounts: &[(&AccountId, R)],
    link: Result<Url, Vec<Finding>>,
) -> Result<Plan, Vec<Finding>> {
    let languages = languages(command, municipality);
    let values = fields::values(command, message, &languages)?;
    let texts = fill(command, message, &languages, &values)?;
    let filling = Filling::new(command.mode, &texts, municipality.name.trim(), link?);

    let mut faults = Vec::new();
    let length = filling.headline.chars().count();
    if length > HEADLINE_LIMIT {
        faults.push(Finding::block(
            "length",
            None,
            format!(
                "Rubriken är {length} tecken och får vara högst {HEADLINE_LIMIT}. Korta texten i fälten."
            ),
        ));
    }
    let mut plan = Plan {
        headline: filling.headline.clone(),
        renderings: Vec::new(),
        accounts: Vec::with_capacity(accounts.len()),
    };
    for &(account, room) in accounts {
        match filling.fit(&room.into()) {
            Ok(rendering) => plan.add(account.clone(), rendering),
            Err(misfit) => faults.push(does_not_fit(account, misfit, &languages)),
        }
    }
    if faults.is_empty() { Ok(plan) } else { Err(faults) }
}

/// The command's languages, each once and in order; the municipality's own if it names none.
fn languages(command: &Command, municipality: &Municipality) -> Vec<Lang> {
    let wanted = if command.languages.is_empty() {
        &municipality.languages
    } else {
        &command.languages
    };
    let mut languages = Vec::new();
    for lang in wanted {
        if !languages.contains(lang) {
            languages.push(*lang);
        }
    }
    if languages.is_empty() {
        languages.push(Lang::Sv);
    }
    languages
}

fn fill(
    command: &Command,
    message: &PreparedMessage,
    languages: &[Lang],
    values: &fields::Values,
) -> Result<Vec<(Lang, Filled)>, Vec<Finding>> {
    let (mut texts, mut faults) = (Vec::new(), Vec::new());
    let none = BTreeMap::new();
    for &lang in languages {
        let Some(sources) = message.texts.get(&(lang, command.kind)) else {
            faults.push(Finding::block(
                "language",
                None,
                format!(
                    "Meddelandet {} har ingen text på {} för {}. Välj andra språk med --lang.",
                    message.id,
                    language_word(lang),
                    kind_word(command.kind)
                ),
            ));
            continue;
        };
        match template::fill(sources, (lang, command.kind), values.get(&lang).unwrap_or(&none)) {
            Ok(filled) => texts.push((lang, filled)),
            Err(fault) => faults.push(Finding::block(
                "template",
                None,
                format!(
                    "Den färdiga texten i {} är fel skriven ({fault}). Rätta filen.",
                    message.id
                ),
            )),
        }
    }
    if faults.is_empty() { Ok(texts) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compose::examples::{account, command, message, municipality, rule};
    use crate::compose::{TextRule, count};
    use crate::model::Variant::{Long, Short, Sms};
    use crate::model::{Kind, Mode, Unit, Variant};

    const LINK: &str = "https://nassjo.se/kris/vatten";

    fn variants(fri: &str, rules: &[TextRule]) -> Vec<Variant> {
        let ids: Vec<_> = (0..rules.len()).map(|n| account(&format!("a{n}"))).collect();
        let accounts: Vec<_> = ids.iter().zip(rules.iter().copied()).collect();
        let command = command(&[("omrade", "Forserum"), ("fri", fri)]);
        let plan = plan(&command, &message(), &municipality(), &accounts).unwrap();
        ids.iter().map(|id| plan.rendering(id).unwrap().variant).collect()
    }

    #[test]
    fn each_account_gets_the_longest_text_that_it_takes() {
        let long = "å".repeat(400);
        let none = TextRule {
            limit: None,
            unit: Unit::Characters,
            also: None,
        };
        let also = TextRule {
            also: Some((400, Unit::Bytes)),
            ..rule(5000, Unit::Characters)
        };
        let rules = [
            none,
            rule(500, Unit::Graphemes),
            rule(300, Unit::Graphemes),
            rule(70, Unit::Characters),
            also,
        ];
        assert_eq!(variants(&long, &rules), [Long, Long, Short, Sms, Short]);
    }

    #[test]
    fn a_text_is_refused_whole_where_nothing_fits() {
        let (small, wide) = (account("liten"), account("stor"));
        let accounts = [
            (&small, rule(40, Unit::Characters)),
            (&wide, rule(500, Unit::Characters)),
        ];
        let found = plan(
            &command(&[("omrade", "Forserum")]),
            &message(),
            &municipality(),
            &accounts,
        )
        .unwrap_err();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].check.as_str(), found[0].account.as_ref()),
            ("length", Some(&small))
        );
        assert_eq!(
            found[0].text,
            "Texten får inte plats på liten. Också den kortaste varianten (sms) är 61 tecken och kontot tar högst 40. \
             Korta texten i fälten."
        );
    }

    #[test]
    fn accounts_with_the_same_rule_share_a_rendering() {
        let ids = [account("a"), account("b"), account("c")];
        let same = rule(500, Unit::Characters);
        let accounts = [
            (&ids[0], same),
            (&ids[1], rule(300, Unit::Graphemes)),
            (&ids[2], same),
        ];
        let plan = plan(
            &command(&[("omrade", "Forserum")]),
            &message(),
            &municipality(),
            &accounts,
        )
        .unwrap();
        assert_eq!(plan.renderings.len(), 2);
        assert_eq!(plan.rendering(&ids[0]), plan.rendering(&ids[2]));
        assert_eq!(plan.each().count(), 3);
    }

    #[test]
    fn a_message_without_the_language_is_refused() {
        let mut message = message();
        message.texts.remove(&(Lang::En, Kind::Initial));
        let mut command = command(&[("omrade", "Forserum")]);
        command.languages = vec![Lang::Sv, Lang::En];
        let found = plan::<TextRule>(&command, &message, &municipality(), &[]).unwrap_err();
        assert!(found[0].text.contains("engelska"), "{}", found[0].text);
    }

    #[test]
    fn a_headline_must_fit_a_subject_line() {
        let mut message = message();
        message.fields[0].max_length = 400;
        let found = plan::<TextRule>(
            &command(&[("omrade", &"x".repeat(300))]),
            &message,
            &municipality(),
            &[],
        )
        .unwrap_err();
        assert!(found[0].text.contains("högst 200"), "{}", found[0].text);
    }

    #[test]
    fn an_account_that_takes_threads_gets_the_long_text_if_it_can_be_parted() {
        let (thread, post) = (account("trad"), account("post"));
        let rule = rule(300, Unit::Graphemes);
        let accounts = [
            (
                &thread,
                Room {
                    parts: 10,
                    ..rule.into()
                },
            ),
            (&post, rule.into()),
        ];
        let variants = |fri: &str| {
            let command = command(&[("omrade", "Forserum"), ("fri", fri)]);
            let plan = plan(&command, &message(), &municipality(), &accounts).unwrap();
            let of = |id| {
                (
                    plan.rendering(id).unwrap().variant,
                    plan.rendering(id).unwrap().limit,
                )
            };
            (of(&thread), of(&post))
        };
        assert_eq!(variants("kort"), ((Long, Some(300)), (Long, Some(300))));
        assert_eq!(
            variants(&"ord ".repeat(200)),
            ((Long, Some(3000)), (Short, Some(300)))
        );
        assert_eq!(
            variants(&"å".repeat(800)),
            ((Short, Some(300)), (Short, Some(300)))
        );
    }

    fn any_unit() -> impl Strategy<Value = Unit> {
        proptest::sample::select(Unit::ALL)
    }

    fn any_rule() -> impl Strategy<Value = TextRule> {
        let second = proptest::option::of((1_usize..3000, any_unit()));
        (proptest::option::of(1_usize..1500), any_unit(), second).prop_map(|(limit, unit, also)| TextRule {
            limit,
            unit,
            also,
        })
    }

    /// What a sender might write: letters, links, signs of the template language, emoji, line breaks.
    fn any_text() -> impl Strategy<Value = String> {
        "(\\PC|[a-zåäö ]{1,9}|\\{\\{7\\*7\\}\\}|\\{% raw %\\}|<b>|https://nassjo.se/x|@a@b.se|👨‍👩‍👧|\\n){0,40}"
    }

    proptest! {
        #[test]
        fn fitting_never_exceeds_the_accounts_own_rule(
            rules in proptest::collection::vec(any_rule(), 1..8),
            fri in any_text(),
            mode in proptest::sample::select(Mode::ALL),
            both in any::<bool>(),
        ) {
            let ids: Vec<_> = (0..rules.len()).map(|n| account(&format!("a{n}"))).collect();
            let accounts: Vec<_> = ids.iter().zip(rules.iter().copied()).collect();
            let mut command = command(&[("omrade", "Forserum"), ("fri", &fri)]);
            command.mode = mode;
            if both {
                command.languages = vec![Lang::Sv, Lang::En];
            }
            match plan(&command, &message(), &municipality(), &accounts) {
                Ok(plan) => {
                    for (id, rule) in &accounts {
                        let rendering = plan.rendering(id).unwrap();
                        prop_assert_eq!(count::excess(&rendering.text, rule), None);
                        prop_assert_eq!(rendering.count, count::count(&rendering.text, rule.unit));
                        let before = rendering.text.strip_suffix(LINK);
                        prop_assert!(before.is_some_and(|b| b.ends_with([' ', '\n'])));
                        prop_assert!(rendering.text.contains("Nässjö kommun"));
                        prop_assert!(!rendering.text.contains("\n\n\n"));
                        prop_assert!(!rendering.headline.contains('\n'));
                    }
                }
                Err(found) => prop_assert!(!found.is_empty() && crate::check::is_blocked(&found)),
            }
        }

        #[test]
        fn what_a_sender_writes_stands_as_written_or_is_refused(fri in any_text()) {
            use unicode_normalization::UnicodeNormalization;

            let id = account("a");
            let rule = TextRule { limit: None, unit: Unit::Characters, also: None };
            let command = command(&[("omrade", "Forserum"), ("fri", &fri)]);
            if let Ok(plan) = plan(&command, &message(), &municipality(), &[(&id, rule)]) {
                let invisible = ['\u{ad}', '\u{200b}', '\u{2060}', '\u{feff}'];
                let written: String = fri.chars().filter(|c| !invisible.contains(c)).nfc().collect();
                let written = super::layout::tidy(&written);
                prop_assert!(plan.renderings[0].text.contains(&written), "{:?} {:?}", written, plan.renderings[0].text);
            }
        }
    }
}
