//! Encryption of one message for one browser: `aes128gcm` (RFC 8188) with the keys of RFC 8291, in one record.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::subscription::Subscription;
use crate::model::Reason;

/// Bytes of a whole message that every service takes; also the record size that the header tells.
pub(super) const MAX_BODY: usize = 4096;
/// What the header of one record with a P-256 key takes of that: salt, record size, key length, key.
const HEADER: usize = 16 + 4 + 1 + 65;
/// The tag of AES-GCM and the sign that ends the last record.
const TAIL: usize = 16 + 1;
/// Longest message.
pub(super) const MAX_PLAINTEXT: usize = MAX_BODY - HEADER - TAIL;

/// The body of the request. `own` and `salt` are made anew for every message.
pub(super) fn encrypt(
    plaintext: &[u8],
    to: &Subscription,
    own: &PrivateKey,
    salt: [u8; 16],
) -> Result<Vec<u8>, Reason> {
    if plaintext.len() > MAX_PLAINTEXT {
        let text = format!(
            "the notification is {} bytes, {MAX_PLAINTEXT} are possible; set a lower max_bytes",
            plaintext.len()
        );
        return Err(Reason::new("too-large", text));
    }
    let failed = || Reason::new("recipient", "the subscription's key is no key of the curve P-256");
    let own_public = own.compute_public_key().map_err(|_| failed())?;
    let peer = UnparsedPublicKey::new(&ECDH_P256, &to.p256dh);
    let (key, nonce) = agreement::agree(own, peer, failed(), |secret| {
        keys(secret, to, own_public.as_ref(), salt).ok_or_else(failed)
    })?;
    let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| failed())?;
    let mut sealed = plaintext.to_vec();
    // The last record ends with this sign; what could follow it is padding.
    sealed.push(2);
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
        .map_err(|_| failed())?;
    let record_size = u32::try_from(MAX_BODY).unwrap_or(u32::MAX);
    let mut body = Vec::with_capacity(HEADER + sealed.len());
    body.extend_from_slice(&salt);
    body.extend_from_slice(&record_size.to_be_bytes());
    body.push(u8::try_from(own_public.as_ref().len()).unwrap_or(u8::MAX));
    body.extend_from_slice(own_public.as_ref());
    body.extend_from_slice(&sealed);
    Ok(body)
}

/// Content key and nonce (RFC 8291 §3.4).
fn keys(secret: &[u8], to: &Subscription, own_public: &[u8], salt: [u8; 16]) -> Option<([u8; 16], [u8; 12])> {
    let key = hmac(&to.auth, &[secret])?;
    let ikm = hmac(&key, &[b"WebPush: info\0", &to.p256dh, own_public, &[1]])?;
    let prk = hmac(&salt, &[&ikm])?;
    let content = hmac(&prk, &[b"Content-Encoding: aes128gcm\0", &[1]])?;
    let nonce = hmac(&prk, &[b"Content-Encoding: nonce\0", &[1]])?;
    Some((*content.first_chunk()?, *nonce.first_chunk()?))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::super::subscription::decoded;
    use super::*;

    /// RFC 8291, section 5 and appendix A.
    #[test]
    fn the_example_of_the_standard_comes_out_byte_for_byte() {
        let own = decoded("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw").unwrap();
        let own = PrivateKey::from_private_key(&ECDH_P256, &own).unwrap();
        let public = decoded(
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
        );
        assert_eq!(own.compute_public_key().unwrap().as_ref(), public.unwrap());
        let salt = decoded("DGv6ra1nlYgDCS1FRnbzlw").unwrap().try_into().unwrap();
        let to = Subscription::practice("https://push.example.net/a".parse().unwrap()).unwrap();
        let body = encrypt(b"When I grow up, I want to be a watermelon", &to, &own, salt).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS\
                        6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_\
                        Qulcy4a-fN";
        assert_eq!(body, decoded(expected).unwrap());
        assert_eq!(body.len(), 144);
    }

    /// The same appendix's values on the way.
    #[test]
    fn the_keys_of_the_standard_s_example_come_out() {
        let to = Subscription::practice("https://push.example.net/a".parse().unwrap()).unwrap();
        let secret = decoded("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs").unwrap();
        let public =
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
        let salt = decoded("DGv6ra1nlYgDCS1FRnbzlw").unwrap().try_into().unwrap();
        let (key, nonce) = keys(&secret, &to, &decoded(public).unwrap(), salt).unwrap();
        assert_eq!(key.to_vec(), decoded("oIhVW04MRdy2XN9CiKLxTg").unwrap());
        assert_eq!(nonce.to_vec(), decoded("4h_95klXJ5E_qnoN").unwrap());
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_and_the_longest_one_fits() {
        let to = Subscription::practice("https://push.example.net/a".parse().unwrap()).unwrap();
        let own = PrivateKey::generate(&ECDH_P256).unwrap();
        assert_eq!(MAX_PLAINTEXT, 3993);
        let body = encrypt(&vec![b'x'; MAX_PLAINTEXT], &to, &own, [7; 16]).unwrap();
        assert_eq!(body.len(), MAX_BODY);
        let err = encrypt(&vec![b'x'; MAX_PLAINTEXT + 1], &to, &own, [7; 16]).unwrap_err();
        assert_eq!(err.code, "too-large");
    }

    #[test]
    fn a_point_that_is_not_on_the_curve_is_refused() {
        let mut to = Subscription::practice("https://push.example.net/a".parse().unwrap()).unwrap();
        to.p256dh[64] ^= 1;
        let own = PrivateKey::generate(&ECDH_P256).unwrap();
        assert_eq!(encrypt(b"x", &to, &own, [7; 16]).unwrap_err().code, "recipient");
    }
}
