//! What a browser does with a message (RFC 8188, RFC 8291), with the keys of the practice wall's only browser. Written
//! apart from the adapter's encryption on purpose: two mistakes would have to be the same.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The browser's private key and secret: those of RFC 8291, appendix A.
const PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
/// See [`PRIVATE`].
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

/// A length for HKDF.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// What the message says; `None` if it is not for this browser or not whole.
pub(super) fn decrypt(body: &[u8]) -> Option<Vec<u8>> {
    let (salt, rest) = body.split_at_checked(16)?;
    let (record_size, rest) = rest.split_at_checked(4)?;
    let record_size = u32::from_be_bytes(record_size.try_into().ok()?);
    let (length, rest) = rest.split_first()?;
    let (sender, sealed) = rest.split_at_checked(usize::from(*length))?;
    // One record, which is the last one.
    if sender.len() != 65 || record_size < 18 || sealed.len() > usize::try_from(record_size).ok()? {
        return None;
    }
    let private = PrivateKey::from_private_key(&ECDH_P256, &URL_SAFE_NO_PAD.decode(PRIVATE).ok()?).ok()?;
    let own = private.compute_public_key().ok()?;
    let auth = URL_SAFE_NO_PAD.decode(AUTH).ok()?;
    let peer = UnparsedPublicKey::new(&ECDH_P256, sender);
    let ikm = agreement::agree(&private, peer, (), |secret| {
        expand(&auth, secret, &[b"WebPush: info\0", own.as_ref(), sender], 32).ok_or(())
    })
    .ok()?;
    let key = expand(salt, &ikm, &[b"Content-Encoding: aes128gcm\0"], 16)?;
    let nonce = expand(salt, &ikm, &[b"Content-Encoding: nonce\0"], 12)?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?);
    let mut opened = sealed.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
    let plain = key.open_in_place(nonce, Aad::empty(), &mut opened).ok()?;
    // Behind the text stands a 2, and padding of zeros.
    let end = plain.iter().rposition(|byte| *byte != 0)?;
    (plain.get(end) == Some(&2)).then(|| plain.get(..end).unwrap_or_default().to_vec())
}

fn expand(salt: &[u8], secret: &[u8], info: &[&[u8]], length: usize) -> Option<Vec<u8>> {
    let prk = Salt::new(HKDF_SHA256, salt).extract(secret);
    let mut out = vec![0; length];
    prk.expand(info, Length(length)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_read() {
        let body = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS\
                    6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_\
                    Qulcy4a-fN";
        let mut body = URL_SAFE_NO_PAD.decode(body).unwrap();
        assert_eq!(
            decrypt(&body).unwrap(),
            b"When I grow up, I want to be a watermelon"
        );
        let last = body.len() - 1;
        body[last] ^= 1;
        assert_eq!(decrypt(&body), None);
        assert_eq!(decrypt(&[0; 90]), None);
        assert_eq!(decrypt(b""), None);
    }
}
