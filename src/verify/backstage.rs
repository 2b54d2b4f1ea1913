//! What a message where the public cannot see says of an account: whether we may publish there, and not only sign in.

use crate::channel::Backstage;
use crate::model::{Look, Observation, SendError, Sign, Subject, Trouble};

/// Code of something that could not be taken away again.
const LEFT: &str = "backstage-left";
/// Code of something that stood where the public sees it.
const PUBLIC: &str = "backstage-public";

/// What the trial says of the account.
pub fn judge(subject: Subject, channel: &str, answer: Result<Backstage, SendError>) -> Observation {
    let mut signs = Vec::new();
    match answer {
        // It went to a place of our own that keeps it: nobody but a person can look there.
        Ok(seen) if seen.read_back || !seen.removed => {}
        Ok(seen) => signs.push(failed(
            &subject,
            channel,
            &format!(
                "det som lades ut ({}) kunde inte läsas tillbaka som det skrevs",
                seen.place
            ),
        )),
        Err(error) => {
            let reason = error.reason();
            if [LEFT, PUBLIC].contains(&reason.code.as_str()) {
                signs.push(Sign {
                    trouble: Trouble::Leftover,
                    text: format!("Ett prov lämnade något efter sig: {reason}."),
                    remedy: "Se genast efter på kontot och ta bort det för hand. Kör inga fler prov på kontot innan det är gjort."
                        .to_owned(),
                    step: None,
                });
            }
            signs.push(failed(&subject, channel, &reason.to_string()));
        }
    }
    Observation::new(subject, Look::Backstage, signs)
}

fn failed(subject: &Subject, channel: &str, why: &str) -> Sign {
    Sign {
        trouble: Trouble::Backstage,
        text: format!("Ett prov där allmänheten inte ser gick inte: {why}."),
        remedy: format!(
            "Inloggningen kan fungera utan att vi får publicera. Läs vad felet säger i docs/channels/{channel}.md och prova \
             igen: vardkase verify --backstage --account {subject}"
        ),
        step: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountId, Reach, Reason};

    fn of(answer: Result<Backstage, SendError>) -> Vec<Trouble> {
        let account: AccountId = "webb".parse().unwrap();
        let seen = judge(account.into(), "wordpress", answer);
        assert_eq!(seen.look, Look::Backstage);
        assert_ne!(seen.reach, Reach::Unreachable, "it may get out all the same");
        seen.signs.into_iter().map(|sign| sign.trouble).collect()
    }

    fn seen(read_back: bool, removed: bool) -> Backstage {
        Backstage {
            place: "as a draft".to_owned(),
            read_back,
            removed,
        }
    }

    #[test]
    fn what_was_read_back_and_what_only_a_person_can_read_is_well() {
        assert_eq!(of(Ok(seen(true, true))), []);
        assert_eq!(of(Ok(seen(true, false))), [], "it vanishes by itself");
        assert_eq!(of(Ok(seen(false, false))), [], "a mail to ourselves");
        assert_eq!(of(Ok(seen(false, true))), [Trouble::Backstage]);
    }

    #[test]
    fn what_was_left_is_told_each_time_and_apart() {
        let error = |code| Err(SendError::Refused(Reason::new(code, "17 was left as a draft")));
        assert_eq!(of(error("http-403")), [Trouble::Backstage]);
        for code in [LEFT, PUBLIC] {
            assert_eq!(of(error(code)), [Trouble::Leftover, Trouble::Backstage]);
        }
        assert!(Trouble::Leftover.is_event() && !Trouble::Backstage.is_event());
    }
}
