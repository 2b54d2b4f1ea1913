//! What a message where the public cannot see says of an account: whether we may publish there, and not only sign in.

use crate::channel::Backstage;
use crate::model::{Look, Observation, SendError, Sign, Subject, Trouble};

/// Code of something that could not be taken away again.
const LEFT: &str = "backstage-left";
/// Code of something that stood where the public sees it, and was taken away.
const PUBLIC: &str = "backstage-public";
/// Code of a place that the public sees: nothing was sent there.
const IS_PUBLIC: &str = "backstage-is-public";
/// Code of an account without such a place.
const NOWHERE: &str = "no-backstage";
/// Code of a trial that the service sent in earnest, to nobody.
const SENT: &str = "backstage-sent";

/// What the trial says of the account.
pub fn judge(subject: Subject, channel: &str, answer: Result<Backstage, SendError>) -> Observation {
    let mut signs = Vec::new();
    match answer {
        // It went to a place of our own that keeps it: nobody but a person can look there.
        Ok(seen) if seen.read_back || !seen.removed => {}
        Ok(_) => signs.push(failed(
            &subject,
            channel,
            "det som lades ut kunde inte läsas tillbaka som det skrevs",
        )),
        Err(error) => {
            signs.extend(leftover(&error));
            signs.push(failed(&subject, channel, &why(&error)));
        }
    }
    Observation::new(subject, Look::Backstage, signs)
}

/// What a person has to look after at once, if anything.
fn leftover(error: &SendError) -> Option<Sign> {
    let reason = error.reason();
    let (text, remedy) = match (error, reason.code.as_str()) {
        (_, LEFT) => (
            format!("Ett prov lämnade något efter sig på kontot ({}).", reason.text),
            "Se genast efter på kontot och ta bort det för hand. Kör inga fler prov på kontot innan det är gjort.",
        ),
        (_, PUBLIC) => (
            format!(
                "Provet syntes för allmänheten en stund och är borttaget ({}).",
                reason.text
            ),
            "Se efter på kontot att det är borta. Kör inga fler prov på kontot innan du vet varför det syntes.",
        ),
        (SendError::Unknown(_), _) => (
            format!(
                "Det kan ligga något kvar efter ett prov på kontot: tjänsten gav inget svar som går att lita på ({reason})."
            ),
            "Se genast efter på kontot, och ta bort det för hand om det ligger något där.",
        ),
        (
            SendError::NotSent(_) | SendError::Busy { .. } | SendError::Credential(_) | SendError::Refused(_),
            _,
        ) => return None,
    };
    Some(Sign {
        trouble: Trouble::Leftover,
        text,
        remedy: remedy.to_owned(),
        step: None,
    })
}

/// Why it did not get through, in Swedish; what the service or the adapter said comes after it as it was said.
fn why(error: &SendError) -> String {
    let reason = error.reason();
    let what = match (reason.code.as_str(), error) {
        (LEFT, _) => "det som lades ut kunde inte tas bort",
        (PUBLIC, _) => "det syntes för allmänheten en stund",
        (IS_PUBLIC, _) => "stället som är inställt för prov är det som allmänheten ser, så inget lades ut",
        (NOWHERE, _) => "kontot har inget ställe som allmänheten inte ser",
        (SENT, _) => "tjänsten skickade på riktigt, till ett nummer som ingen har",
        (_, SendError::Credential(_)) => "tjänsten tar inte emot vår inloggning",
        (_, SendError::Busy { .. }) => "tjänsten ber oss vänta",
        (_, SendError::Refused(_)) => "tjänsten sade nej",
        (_, SendError::NotSent(_)) => "det kom inte fram till tjänsten",
        (_, SendError::Unknown(_)) => "tjänsten gav inget svar som går att lita på",
    };
    format!("{what} ({reason})")
}

fn failed(subject: &Subject, channel: &str, why: &str) -> Sign {
    Sign {
        trouble: Trouble::Backstage,
        text: format!("Ett prov där allmänheten inte ser gick inte igenom: {why}."),
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
        // Nothing was sent, or to nobody: nobody is woken.
        for code in [IS_PUBLIC, NOWHERE, SENT] {
            assert_eq!(of(error(code)), [Trouble::Backstage]);
        }
        let reason = || Reason::new("timeout", "no answer within 45 s");
        assert_eq!(
            of(Err(SendError::Unknown(reason()))),
            [Trouble::Leftover, Trouble::Backstage]
        );
        assert_eq!(of(Err(SendError::NotSent(reason()))), [Trouble::Backstage]);
        assert!(Trouble::Leftover.is_event() && !Trouble::Backstage.is_event());
    }
}
