use super::*;

/// Two officers' keys, and what another implementation of the format sealed for both (with a part in its header that
/// nobody knows, as the format wants it to be borne).
const ONE: &str = "AGE-SECRET-KEY-1XNU5PRFGFFKFW987WCREPUD2V5AASE42K73AM2F20JZ4878XP4DQH6PTEM";
const ONE_PUBLIC: &str = "age1tz5k0nqtykgc2lfjswsd7x8r3jq588wevz7f9zdnng730ctq3edsd747e5";
const OTHER: &str = "AGE-SECRET-KEY-1SL8WWZEZGS3YSTKZNJRSJ569P39D6ZX4ARVFSUHKNJENK48H7TWQ4W9YM5";
const OTHER_PUBLIC: &str = "age130v459gn2sxte76pr6m7f84yp30326l98a4rmh86q77awrmrhu0snq78n2";
const BY_ANOTHER: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBtUzlISllsZnR2c2FXeld5TkJaOGllUTZBVnFhRi9TQWVHOGJFVXdmM2dVCjZlMWFVakxVV2UramFnbURSMEtLa0YvK3FRNXJIRkJkMVRDWXFKUHd3RXMKLT4gWDI1NTE5IG45STRwUDQvSmRzTkJ4R1YxNG1hdUcvRWVVdTdlR21Ranl4cm1UZG1sRlUKUEc5MEVtbFNSL3orUzh4cmJSZ21xUk1GVFAvaE83ZDd5Vm11UUxrNTNxWQotPiBcLWdyZWFzZSAmV1MyZWgtICcrUnh5SC5BCkNXZlJmS1ZxRkpORjdyOGZFSlZBbjNsQ0VNYnE5RTJmdnlIOWZVRkJaR3E2TWpENFllU2tReUVLcWlrCi0tLSBpKzVsdVF3OGpCTG1HZDNHbXpUUll6MHZtSHNlNHUwNjZvZGcyWllQYzgwCviS2gEwQxSTyf93zdbxNli5c80A8TqtX3b2Fx50BWuDce2dOL3cB3aIVE6K7ymSVCZxbQTSgQ==";
const EMPTY_BY_ANOTHER: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBXNHh6S3ZSdW82VzhSbGFFRitqUEcwQ0ljcUNpbGlUODc1blZWK3BFM0dZCll6RHFRRVVFeCs3cjRHb0NlNHI5RW1VeWx1d2kwcm5WWGwxQW9FWnU2cjQKLT4gQ2ktZ3JlYXNlCgotLS0gZW5lZi81bTVJOUpzcmxSRnM2dTh6eW1NUGV5NWozOFVaTytpdWhFNlFWcwrnzz7okk/VdKImc+FJMyLjtgkNphLyKsczDt5clZXNBg==";

fn identity(text: &str) -> Identity {
    Identity::read(&SecretString::from(format!("# officer\n\n{text}\n"))).unwrap()
}

fn stranger() -> Identity {
    Identity::of(&[7; 32]).unwrap()
}

#[test]
fn keys_are_read_and_written_as_age_writes_them() {
    for (secret, public) in [(ONE, ONE_PUBLIC), (OTHER, OTHER_PUBLIC)] {
        assert_eq!(identity(secret).recipient().to_string(), public);
        assert_eq!(public.parse::<Recipient>().unwrap().to_string(), public);
        assert_eq!(
            public.to_uppercase().parse::<Recipient>().unwrap().to_string(),
            public
        );
    }
    let slip = ONE_PUBLIC.replace("tz5k", "tz5l");
    for wrong in [
        "",
        "age1",
        "ssh-ed25519 AAAA",
        &slip,
        ONE,
        "Age1tz5k0nqtykgc2lfjswsd7x8r3jq588wevz7f9zdnng730ctq3edsd747e5",
    ] {
        assert_eq!(wrong.parse::<Recipient>(), Err(AgeError::Recipient), "{wrong}");
    }
    for wrong in ["", "# bara en kommentar", ONE_PUBLIC, "AGE-SECRET-KEY-1QQQ"] {
        let read = Identity::read(&SecretString::from(wrong));
        assert_eq!(read.err(), Some(AgeError::Identity), "{wrong}");
    }
}

#[test]
fn what_another_program_sealed_is_opened_by_either_key() {
    let sealed = STANDARD.decode(BY_ANOTHER).unwrap();
    for secret in [ONE, OTHER] {
        let plain = open(&sealed, &identity(secret)).unwrap();
        assert_eq!(std::str::from_utf8(&plain).unwrap(), "nyckel till vårdkasen");
    }
    assert_eq!(open(&sealed, &stranger()).err(), Some(AgeError::NotForUs));
    let empty = STANDARD.decode(EMPTY_BY_ANOTHER).unwrap();
    assert!(open(&empty, &identity(ONE)).unwrap().is_empty());
}

#[test]
fn what_is_sealed_is_opened_by_either_key_whatever_its_length() {
    let recipients = [ONE_PUBLIC.parse().unwrap(), OTHER_PUBLIC.parse().unwrap()];
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17] {
        let plain: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let sealed = seal(&plain, &recipients).unwrap();
        assert!(sealed.starts_with(BEGIN) && sealed.ends_with("-----\n"));
        for secret in [ONE, OTHER] {
            assert_eq!(
                *open(sealed.as_bytes(), &identity(secret)).unwrap(),
                plain,
                "{length}"
            );
        }
        assert_eq!(
            open(sealed.as_bytes(), &stranger()).err(),
            Some(AgeError::NotForUs)
        );
    }
}

#[test]
fn no_changed_byte_goes_unnoticed() {
    let sealed = STANDARD.decode(BY_ANOTHER).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(open(&changed, &identity(ONE)).is_err(), "byte {at}");
        assert!(open(&sealed[..at], &identity(ONE)).is_err(), "cut at {at}");
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert!(open(&longer, &identity(ONE)).is_err());
}

#[test]
fn parts_cannot_be_left_out_or_put_in_another_order() {
    let recipients = [ONE_PUBLIC.parse().unwrap()];
    let sealed = seal(&vec![7; 2 * CHUNK], &recipients).unwrap();
    let bytes = unarmour(&sealed).unwrap();
    let part = CHUNK + TAG;
    let (head, parts) = bytes.split_at(bytes.len() - 2 * part);
    let swapped = [head, &parts[part..], &parts[..part]].concat();
    let first_only = [head, &parts[..part]].concat();
    let twice = [head, &parts[..part], &parts[..part]].concat();
    for wrong in [swapped, first_only, twice] {
        assert_eq!(open(&wrong, &identity(ONE)).err(), Some(AgeError::Damaged));
    }
}

#[test]
fn a_secret_key_does_not_show() {
    assert_eq!(format!("{:?}", identity(ONE)), "Identity([redacted])");
}
