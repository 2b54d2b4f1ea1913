//! What a person should do about a delivery: the same words in the mail, on the command line and in the console.

use crate::model::{BroadcastId, DeliveryReport, Purpose, Reason, State};

/// What to do about the delivery, in Swedish, with the commands ready to copy; `None` if there is nothing to do.
pub fn advice(broadcast: &BroadcastId, delivery: &DeliveryReport) -> Option<String> {
    let account = &delivery.account;
    let retry = format!("vardkase retry {broadcast} --account {account}");
    let done = format!("{retry} --done ADRESS");
    if delivery.purpose == Purpose::Retract {
        return retraction(delivery, &retry);
    }
    // An attempt before it was handed over may have got through.
    let look = if delivery.unknown_since.is_some() {
        format!("Se först efter på {account} om inlägget redan finns där. ")
    } else {
        String::new()
    };
    match delivery.state {
        State::Manual => Some(format!(
            "{look}Lägg ut texten för hand på {account}. Rapportera sedan var den finns: {done}"
        )),
        State::Refused if delivery.recipient.is_some() => Some(format!(
            "Se efter i listan om adressen är rätt, eller nå mottagaren på annat sätt. Försök igen: {retry}"
        )),
        State::Refused => Some(format!(
            "{look}Tjänsten sa nej, och ett nytt försök får troligen samma svar. Lägg ut texten för hand och rapportera var \
             den finns: {done}. Eller rätta det som felet säger och försök igen: {retry}"
        )),
        State::Held => Some(held(delivery, &retry, &done)),
        State::Unknown => Some(format!(
            "Vi vet inte om inlägget kom ut. Vårdkase tar reda på det. Lägg inte ut texten för hand innan du har sett \
             efter på {account} om den redan finns där."
        )),
        State::Expired => Some(format!(
            "Giltighetstiden gick ut innan texten kom ut på {account}. Gäller meddelandet fortfarande? Skicka en \
             uppdatering: vardkase send … --alert {} --kind update",
            broadcast.alert()
        )),
        State::Queued
        | State::Sending
        | State::Published
        | State::Edited
        | State::Retracted
        | State::Superseded
        | State::Cancelled => None,
    }
}

/// A post that should be gone and is not.
fn retraction(delivery: &DeliveryReport, retry: &str) -> Option<String> {
    let account = &delivery.account;
    match delivery.state {
        State::Manual | State::Refused | State::Held | State::Expired => Some(format!(
            "Inlägget kan finnas kvar på {account}. Ta bort det för hand där, eller försök igen: {retry}"
        )),
        State::Unknown
        | State::Queued
        | State::Sending
        | State::Published
        | State::Edited
        | State::Retracted
        | State::Superseded
        | State::Cancelled => None,
    }
}

/// Why a delivery is held decides what helps; whether an attempt may have got through decides what comes first.
fn held(delivery: &DeliveryReport, retry: &str, done: &str) -> String {
    let account = &delivery.account;
    let cause = delivery.error.as_ref().map_or(Cause::Credential, cause);
    if delivery.unknown_since.is_some() {
        let also = match cause {
            Cause::Login => format!(", lägg in en ny inloggning med {} och", renew(delivery)),
            Cause::Credential | Cause::Restored | Cause::Account | Cause::Sender | Cause::Fault => {
                ",".to_owned()
            }
        };
        return format!(
            "Vi vet inte om inlägget kom ut. Se först efter på {account}. Finns det där, rapportera: {done}. Finns det \
             inte{also} skicka igen: {retry} --resend"
        );
    }
    match cause {
        Cause::Login | Cause::Credential => format!(
            "Inloggningen på {account} godtas inte. Inget kom ut. Lägg in en ny: {}. Försök sedan igen: {retry}",
            renew(delivery)
        ),
        Cause::Restored => format!(
            "Databasen är återställd från en säkerhetskopia, så inlägget kan redan vara publicerat. Se först efter på \
             {account}. Finns det där, rapportera: {done}. Finns det inte, skicka: {retry} --release"
        ),
        Cause::Account => format!(
            "Kontot {account} finns inte i config.toml eller går inte att öppna. Inget kom ut. Rätta det, kör vardkase \
             check och försök sedan igen: {retry}"
        ),
        Cause::Sender => format!(
            "Mejlreläet godtar inte avsändaradressen på {account}. Inget kom ut. Rätta from i config.toml eller be den som \
             sköter reläet att släppa igenom adressen. Försök sedan igen: {retry}"
        ),
        Cause::Fault => format!(
            "Vårdkase stoppade sig självt innan något skickades. Lägg ut texten för hand, rapportera: {done}, och visa \
             felet för den som sköter driften."
        ),
    }
}

/// How the credential of an account is put in anew. Mail has none of its own but uses that of the relay.
fn renew(delivery: &DeliveryReport) -> String {
    if delivery.channel == "email" {
        "vardkase credentials set RELÄ (namnet under [[relay]] i config.toml)".to_owned()
    } else {
        format!("vardkase credentials set {}", delivery.account)
    }
}

/// What stands behind a held delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The service says that the credential is dead or missing.
    Login,
    /// Any other code. Nothing but a credential holds a delivery whose outcome is known.
    Credential,
    /// The database is a restored backup.
    Restored,
    /// The configuration does not have the account.
    Account,
    /// The relay does not take the address that we send from.
    Sender,
    /// A guard against our own faults.
    Fault,
}

/// The cause by the reason's code, which is stable; the text is for people.
fn cause(reason: &Reason) -> Cause {
    let code = reason.code.as_str();
    let any = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if any(&["restore"]) {
        Cause::Restored
    } else if any(&["mode-mismatch", "panic", "no-receipt"]) {
        Cause::Fault
    } else if code.starts_with("smtp-sender-") && !code.starts_with("smtp-sender-53") {
        Cause::Sender
    } else if any(&["account"]) {
        Cause::Account
    } else if any(&[
        "credential",
        "401",
        "403",
        "graph-190",
        "smtp-53",
        "smtp-sender-53",
    ]) {
        Cause::Login
    } else {
        Cause::Credential
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirm::rows::examples::delivery;

    fn told(state: State, code: Option<&str>) -> Option<String> {
        let mut delivery = delivery("mastodon-nassjo", state);
        delivery.error = code.map(|code| Reason::new(code, "it did not work"));
        advice(&"2026-0007.1".parse().unwrap(), &delivery)
    }

    #[test]
    fn every_state_that_waits_for_a_person_says_what_to_do() {
        for state in State::ALL {
            let told = told(state, None);
            if state.needs_person() {
                let told = told.expect("advice");
                assert!(
                    told.contains("vardkase retry 2026-0007.1 --account mastodon-nassjo"),
                    "{told}"
                );
            } else if state.got_out() {
                assert_eq!(told, None);
            }
        }
    }

    #[test]
    fn what_may_have_got_out_is_looked_for_before_anything_is_sent_again() {
        for code in ["timeout", "http-401", "interrupted"] {
            let mut delivery = delivery("webb", State::Held);
            delivery.error = Some(Reason::new(code, "it did not work"));
            delivery.unknown_since = Some(delivery.queued_at);
            let told = advice(&"2026-0007.1".parse().unwrap(), &delivery).unwrap();
            assert!(
                told.starts_with("Vi vet inte om inlägget kom ut. Se först efter"),
                "{told}"
            );
            assert!(told.contains("--done") && told.contains("--resend"), "{told}");
            assert_eq!(
                told.contains("credentials set webb"),
                code == "http-401",
                "{told}"
            );
        }
    }

    #[test]
    fn a_sender_that_the_relay_does_not_take_is_not_a_matter_of_its_log_in() {
        for (code, from) in [
            ("smtp-sender-550-5.7.1", true),
            ("smtp-sender-530-5.7.0", false),
            ("smtp-535-5.7.8", false),
        ] {
            let told = told(State::Held, Some(code)).unwrap();
            assert_eq!(told.contains("Rätta from"), from, "{code}: {told}");
            assert_eq!(told.contains("credentials set"), !from, "{code}: {told}");
        }
    }

    #[test]
    fn a_post_that_should_be_gone_is_looked_for() {
        let mut delivery = delivery("mastodon-nassjo", State::Held);
        delivery.purpose = Purpose::Retract;
        let told = advice(&"2026-0007.1".parse().unwrap(), &delivery).unwrap();
        assert!(told.contains("Ta bort det för hand"), "{told}");
        assert!(!told.contains("Lägg ut"), "{told}");
    }

    #[test]
    fn the_cause_decides_what_helps() {
        let cases = [
            (State::Held, Some("http-401")),
            (State::Held, Some("ExpiredToken")),
            (State::Held, Some("restored")),
            (State::Held, Some("no-account")),
            (State::Held, Some("mode-mismatch")),
            (State::Refused, Some("http-422")),
            (State::Manual, None),
            (State::Unknown, Some("timeout")),
            (State::Expired, Some("connect")),
        ];
        let all: Vec<_> = cases
            .into_iter()
            .map(|(state, code)| format!("{state} {}: {}", code.unwrap_or("-"), told(state, code).unwrap()))
            .collect();
        insta::assert_snapshot!(all.join("\n\n"));
    }
}
