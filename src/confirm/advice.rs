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
    match delivery.state {
        State::Manual => Some(format!(
            "Lägg ut texten för hand på {account}. Rapportera sedan var den finns: {done}"
        )),
        State::Refused if delivery.recipient.is_some() => Some(format!(
            "Se efter i listan om adressen är rätt, eller nå mottagaren på annat sätt. Försök igen: {retry}"
        )),
        State::Refused => Some(format!(
            "Tjänsten sa nej, och ett nytt försök får troligen samma svar. Lägg ut texten för hand och rapportera var \
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

/// Why a delivery is held decides what helps.
fn held(delivery: &DeliveryReport, retry: &str, done: &str) -> String {
    let account = &delivery.account;
    match delivery.error.as_ref().map(cause) {
        Some(Cause::Credential) => format!(
            "Inloggningen på {account} gäller inte längre. Lägg in en ny: vardkase credentials set {account}. \
             Försök sedan igen: {retry}"
        ),
        Some(Cause::Restored) => format!(
            "Databasen är återställd från en säkerhetskopia, så texten kan redan vara publicerad. Se efter på {account}. \
             Finns den där, rapportera: {done}. Finns den inte, skicka: {retry} --resend"
        ),
        Some(Cause::Account) => format!(
            "Kontot {account} finns inte i config.toml eller går inte att öppna. Rätta det, kör vardkase check och försök \
             sedan igen: {retry}"
        ),
        Some(Cause::Other) | None => format!(
            "Vi vet inte om inlägget kom ut. Se först efter på {account}. Finns det där, rapportera: {done}. Finns det \
             inte, skicka igen: {retry} --resend"
        ),
    }
}

/// What stands behind a held delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The credential is missing or dead.
    Credential,
    /// The database is a restored backup.
    Restored,
    /// The configuration does not have the account, or it cannot be opened.
    Account,
    /// Nothing can tell whether the attempt got through.
    Other,
}

/// The cause by the reason's code, which is stable; the text is for people.
fn cause(reason: &Reason) -> Cause {
    let code = reason.code.as_str();
    let any = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if any(&["restore"]) {
        Cause::Restored
    } else if any(&[
        "credential",
        "secret",
        "token",
        "auth",
        "401",
        "graph-190",
        "smtp-530",
        "smtp-535",
    ]) {
        Cause::Credential
    } else if any(&["account", "config"]) {
        Cause::Account
    } else {
        Cause::Other
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
            (State::Held, Some("restored")),
            (State::Held, Some("no-account")),
            (State::Held, Some("timeout")),
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
