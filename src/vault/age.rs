//! Files that only the holders of certain keys can open: the age format, version 1, for X25519 recipients
//! (<https://age-encryption.org/v1>). What is sealed here opens with the `age` program on any machine, without Vårdkase;
//! that is the point of it. The primitives are those of libraries; here is only how the format puts them together.

use std::fmt::Write as _;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION: &str = "age-encryption.org/v1";
const LABEL: &[u8] = b"age-encryption.org/v1/X25519";
/// What is sealed at a time.
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
const FILE_KEY: usize = 16;
const NONCE: usize = 16;
/// Columns of a line in a header.
const COLUMNS: usize = 64;
/// Recipients of a file that are looked at.
const MAX_STANZAS: usize = 100;
const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";

/// Why a file could not be made or opened. Says nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgeError {
    /// No public key of age's.
    #[error("is no public key of age's: one begins with age1 and has 62 characters")]
    Recipient,
    /// No secret key of age's.
    #[error("is no secret key of age's: one begins with AGE-SECRET-KEY-1")]
    Identity,
    /// No such file.
    #[error("is no age file, or was damaged")]
    Damaged,
    /// Sealed for others.
    #[error("was not sealed for this key")]
    NotForUs,
    /// The system gave no random numbers.
    #[error("cannot be sealed: the system gave no random numbers")]
    NoRandomness,
}

/// The public key of somebody who may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl std::str::FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        let bytes = bech32::decode("age", text.trim()).ok_or(AgeError::Recipient)?;
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| AgeError::Recipient)?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&bech32::encode("age", &self.0))
    }
}

/// The secret key of somebody who opens.
pub struct Identity {
    key: PrivateKey,
    public: [u8; 32],
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity([redacted])")
    }
}

impl Identity {
    /// The first secret key in a key file's text; comments are skipped.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(text: &SecretString) -> Result<Self, AgeError> {
        let lines = text.expose_secret().lines().map(str::trim);
        let line = lines
            .into_iter()
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        let line = line.ok_or(AgeError::Identity)?;
        let bytes = bech32::decode("age-secret-key-", line).ok_or(AgeError::Identity)?;
        Self::of(&Zeroizing::new(bytes))
    }

    fn of(bytes: &[u8]) -> Result<Self, AgeError> {
        let key = PrivateKey::from_private_key(&X25519, bytes).map_err(|_| AgeError::Identity)?;
        let public = public(&key).map_err(|_| AgeError::Identity)?;
        Ok(Self { key, public })
    }

    /// The public key that belongs to it.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.public)
    }
}

fn public(key: &PrivateKey) -> Result<[u8; 32], Unspecified> {
    let public = key.compute_public_key()?;
    <[u8; 32]>::try_from(public.as_ref()).map_err(|_| Unspecified)
}

/// Seals for every recipient: each of them opens it alone.
///
/// # Errors
/// If the system gives no random numbers.
pub fn seal(plain: &[u8], recipients: &[Recipient]) -> Result<String, AgeError> {
    let file_key = Zeroizing::new(random::<FILE_KEY>()?);
    let mut header = format!("{VERSION}\n");
    for recipient in recipients {
        let ephemeral = PrivateKey::generate(&X25519).map_err(|_| AgeError::NoRandomness)?;
        let share = public(&ephemeral).map_err(|_| AgeError::NoRandomness)?;
        let wrapping =
            wrapping_key(&ephemeral, &recipient.0, &share, &recipient.0).map_err(|_| AgeError::Recipient)?;
        let body = cipher(&wrapping).encrypt(&Nonce::default(), file_key.as_slice());
        let body = body.map_err(|_| AgeError::Damaged)?;
        let (share, body) = (STANDARD_NO_PAD.encode(share), STANDARD_NO_PAD.encode(body));
        // Writing to a string cannot fail.
        let _infallible = write!(header, "-> X25519 {share}\n{body}\n");
    }
    header.push_str("---");
    let mac = header_mac(file_key.as_slice(), &header).finalize().into_bytes();
    let _infallible = writeln!(header, " {}", STANDARD_NO_PAD.encode(mac));
    let nonce = random::<NONCE>()?;
    let cipher = cipher(&derive(file_key.as_slice(), &nonce, b"payload"));
    let mut sealed = header.into_bytes();
    sealed.extend_from_slice(&nonce);
    let mut chunks: Vec<&[u8]> = plain.chunks(CHUNK).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let last = chunks.len() - 1;
    for (n, chunk) in chunks.into_iter().enumerate() {
        let chunk = cipher.encrypt(&counter(n, n == last), chunk);
        sealed.extend_from_slice(&chunk.map_err(|_| AgeError::Damaged)?);
    }
    Ok(armour(&sealed))
}

/// Opens what was sealed for this key, in armour or not.
///
/// # Errors
/// If it was sealed for others, or was changed.
pub fn open(file: &[u8], identity: &Identity) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let bytes = match std::str::from_utf8(file) {
        Ok(text) if text.trim_start().starts_with(BEGIN) => unarmour(text)?,
        _ => file.to_vec(),
    };
    let mut lines = Lines(&bytes);
    if lines.next() != Some(VERSION) {
        return Err(AgeError::Damaged);
    }
    let mut file_key = None;
    for _ in 0..=MAX_STANZAS {
        let line = lines.next().ok_or(AgeError::Damaged)?;
        if let Some(mac) = line.strip_prefix("--- ") {
            let file_key: Zeroizing<Vec<u8>> = file_key.ok_or(AgeError::NotForUs)?;
            let length = bytes.len() - lines.0.len() - line.len() - 1 + "---".len();
            let header = bytes
                .get(..length)
                .and_then(|header| std::str::from_utf8(header).ok());
            let mac = STANDARD_NO_PAD.decode(mac).map_err(|_| AgeError::Damaged)?;
            header_mac(&file_key, header.ok_or(AgeError::Damaged)?)
                .verify_slice(&mac)
                .map_err(|_| AgeError::Damaged)?;
            return payload(lines.0, &file_key);
        }
        let arguments = line.strip_prefix("-> ").ok_or(AgeError::Damaged)?;
        let body = stanza_body(&mut lines)?;
        if let Some(share) = arguments.strip_prefix("X25519 ")
            && file_key.is_none()
        {
            file_key = unwrap(share, &body, identity)?;
        }
    }
    Err(AgeError::Damaged)
}

/// The file's key, if this part of the header is for us.
fn unwrap(share: &str, body: &[u8], identity: &Identity) -> Result<Option<Zeroizing<Vec<u8>>>, AgeError> {
    let share = STANDARD_NO_PAD.decode(share).map_err(|_| AgeError::Damaged)?;
    let share = <[u8; 32]>::try_from(share.as_slice()).map_err(|_| AgeError::Damaged)?;
    if body.len() != FILE_KEY + TAG {
        return Err(AgeError::Damaged);
    }
    let wrapping =
        wrapping_key(&identity.key, &share, &share, &identity.public).map_err(|_| AgeError::Damaged)?;
    Ok(cipher(&wrapping)
        .decrypt(&Nonce::default(), body)
        .ok()
        .map(Zeroizing::new))
}

fn payload(sealed: &[u8], file_key: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let (nonce, mut rest) = sealed.split_at_checked(NONCE).ok_or(AgeError::Damaged)?;
    let cipher = cipher(&derive(file_key, nonce, b"payload"));
    let mut plain = Zeroizing::new(Vec::with_capacity(rest.len()));
    for n in 0.. {
        let is_last = rest.len() <= CHUNK + TAG;
        let (chunk, after) = rest.split_at_checked(CHUNK + TAG).unwrap_or((rest, &[]));
        let opened = cipher.decrypt(&counter(n, is_last), chunk).map(Zeroizing::new);
        let opened = opened.map_err(|_| AgeError::Damaged)?;
        // Only a file without any content ends with an empty part.
        if opened.is_empty() && n > 0 {
            return Err(AgeError::Damaged);
        }
        plain.extend_from_slice(&opened);
        rest = after;
        if is_last {
            break;
        }
    }
    Ok(plain)
}

/// Number of the part, and whether it is the last: twelve bytes that never repeat under one key.
fn counter(n: usize, is_last: bool) -> Nonce {
    let mut nonce = [0_u8; 12];
    if let Some(number) = nonce.get_mut(3..11) {
        number.copy_from_slice(&(n as u64).to_be_bytes());
    }
    nonce[11] = u8::from(is_last);
    Nonce::from(nonce)
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(*key))
}

fn wrapping_key(
    own: &PrivateKey,
    theirs: &[u8; 32],
    share: &[u8; 32],
    recipient: &[u8; 32],
) -> Result<Zeroizing<[u8; 32]>, Unspecified> {
    let salt = [share.as_slice(), recipient.as_slice()].concat();
    // A share of low order, which would give a key that everybody knows, is refused in here.
    agree(
        own,
        UnparsedPublicKey::new(&X25519, theirs),
        Unspecified,
        |secret| Ok(derive(secret, &salt, LABEL)),
    )
}

/// HKDF with SHA-256 (RFC 5869), 32 bytes of it: one round.
fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let extracted = Zeroizing::new(<[u8; 32]>::from(
        keyed(salt).chain_update(secret).finalize().into_bytes(),
    ));
    let expanded = keyed(extracted.as_slice()).chain_update(info).chain_update([1]);
    Zeroizing::new(expanded.finalize().into_bytes().into())
}

fn header_mac(file_key: &[u8], header: &str) -> Hmac<Sha256> {
    keyed(derive(file_key, &[], b"header").as_slice()).chain_update(header)
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length is taken")
}

fn random<const N: usize>() -> Result<[u8; N], AgeError> {
    let mut bytes = [0_u8; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AgeError::NoRandomness)?;
    Ok(bytes)
}

/// The lines of a header; what is left when it ends is the payload.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        std::str::from_utf8(line).ok()
    }
}

/// The body of a part of the header: full lines, and a shorter one that ends it.
fn stanza_body(lines: &mut Lines<'_>) -> Result<Vec<u8>, AgeError> {
    let mut text = String::new();
    loop {
        let line = lines.next().ok_or(AgeError::Damaged)?;
        if line.len() > COLUMNS || text.len() > 16 * 1024 {
            return Err(AgeError::Damaged);
        }
        text.push_str(line);
        if line.len() < COLUMNS {
            return STANDARD_NO_PAD.decode(text).map_err(|_| AgeError::Damaged);
        }
    }
}

fn armour(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut armoured = format!("{BEGIN}\n");
    for line in text.as_bytes().chunks(COLUMNS) {
        armoured.push_str(&String::from_utf8_lossy(line));
        armoured.push('\n');
    }
    armoured.push_str(END);
    armoured.push('\n');
    armoured
}

fn unarmour(text: &str) -> Result<Vec<u8>, AgeError> {
    let text = text.trim().replace("\r\n", "\n");
    let inside = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let joined: String = inside.ok_or(AgeError::Damaged)?.lines().collect();
    STANDARD.decode(joined).map_err(|_| AgeError::Damaged)
}

/// Bech32 (BIP 173), as age writes its keys: bytes as words that a slip of the pen does not turn into others.
mod bech32 {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

    fn polymod(values: impl Iterator<Item = u8>) -> u32 {
        const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
        values.fold(1, |sum, value| {
            let top = sum >> 25;
            let sum = ((sum & 0x1ff_ffff) << 5) ^ u32::from(value);
            let picked = GENERATOR
                .iter()
                .enumerate()
                .filter(|(bit, _)| (top >> bit) & 1 == 1);
            picked.fold(sum, |sum, (_, generator)| sum ^ generator)
        })
    }

    fn expanded(prefix: &str) -> impl Iterator<Item = u8> {
        let high = prefix.bytes().map(|byte| byte >> 5);
        high.chain([0]).chain(prefix.bytes().map(|byte| byte & 31))
    }

    /// Groups of `from` bits as groups of `to` bits.
    fn regroup(data: &[u8], from: u32, to: u32, pad: bool) -> Option<Vec<u8>> {
        let (mut held, mut bits, mut out) = (0_u32, 0_u32, Vec::new());
        let mask = (1_u32 << to) - 1;
        for value in data {
            held = (held << from) | u32::from(*value);
            bits += from;
            while bits >= to {
                bits -= to;
                out.push(u8::try_from((held >> bits) & mask).ok()?);
            }
            held &= (1 << bits) - 1;
        }
        if pad {
            if bits > 0 {
                out.push(u8::try_from((held << (to - bits)) & mask).ok()?);
            }
        } else if bits >= from || held != 0 {
            return None;
        }
        Some(out)
    }

    pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
        let data = regroup(bytes, 8, 5, true).unwrap_or_default();
        let sum = polymod(expanded(prefix).chain(data.iter().copied()).chain([0; 6])) ^ 1;
        let check = (0..6).map(|n| u8::try_from((sum >> (5 * (5 - n))) & 31).unwrap_or_default());
        let words = data.iter().copied().chain(check);
        let letters = words.filter_map(|value| ALPHABET.get(usize::from(value)).copied().map(char::from));
        format!("{prefix}1{}", letters.collect::<String>())
    }

    /// The bytes of a text with this prefix, all in small letters or all in capitals.
    pub(super) fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
        let is_mixed =
            text.bytes().any(|b| b.is_ascii_lowercase()) && text.bytes().any(|b| b.is_ascii_uppercase());
        if is_mixed || text.len() > 200 {
            return None;
        }
        let text = text.to_ascii_lowercase();
        let rest = text.strip_prefix(prefix)?.strip_prefix('1')?;
        let value = |byte: u8| ALPHABET.iter().position(|letter| *letter == byte);
        let values: Option<Vec<u8>> = rest
            .bytes()
            .map(|byte| value(byte).and_then(|value| u8::try_from(value).ok()))
            .collect();
        let values = values?;
        if polymod(expanded(prefix).chain(values.iter().copied())) != 1 {
            return None;
        }
        let data = values.get(..values.len().checked_sub(6)?)?;
        regroup(data, 5, 8, false)
    }
}

#[cfg(test)]
mod tests;
