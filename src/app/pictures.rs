//! The picture of a command: the one that it gives, or the one of its prepared message; made once for each rule that the
//! chosen accounts have, before anything is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::AppError;
use super::request::SendRequest;
use crate::check::{Finding, PICTURE_CREDIT};
use crate::compose::picture::{self, Original};
use crate::compose::{Plan, PreparedMessage};
use crate::config::{Account, Config, Municipality, PictureCredit};
use crate::model::{AccountId, Kind, Lang, Picture, PictureRef, PictureRule};

/// Unpacked pictures are large: one command's are made at a time.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// The id of the findings about pictures.
const CHECK: &str = "picture";

/// What an account will show as its picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum PicturePreview {
    /// The picture that came with the command.
    Command(PictureRef),
    /// The picture of the prepared message.
    Message(PictureRef),
    /// A card with the text on it, as the account has no post without a picture.
    Card,
}

/// The pictures of a command.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    of: BTreeMap<AccountId, (Arc<Picture>, PictureRef)>,
    /// Whether the command gave it.
    is_given: bool,
    pub findings: Vec<Finding>,
}

/// Where the picture's bytes and words come from.
struct Source {
    bytes: Arc<[u8]>,
    alt: String,
    credit: Option<String>,
    is_given: bool,
}

impl Pictures {
    /// Makes what the accounts take.
    ///
    /// # Errors
    /// [`AppError::Invalid`] if the file is no picture that can be taken, or has no description.
    pub async fn of(
        request: &SendRequest,
        message: &PreparedMessage,
        config: &Config,
        accounts: impl Iterator<Item = &Account>,
    ) -> Result<Self, AppError> {
        let Some(source) = source(request, message, &config.municipality)? else {
            return Ok(Self::default());
        };
        let is_given = source.is_given;
        let uncredited = uncredited(source.credit.as_deref(), config.checks.picture_credit);
        let mut rules: Vec<(AccountId, Option<PictureRule>)> = Vec::new();
        for account in accounts {
            rules.push((account.id.clone(), account.settings.picture_rule()));
        }
        // Closed never: it is a constant.
        let _turn = ONE_AT_A_TIME.acquire().await;
        let worked = tokio::task::spawn_blocking(move || make(&source, &rules)).await;
        let mut made = worked
            .map_err(|_| AppError::Invalid("the picture cannot be read; save it anew".to_owned()))?
            .map_err(AppError::Invalid)?;
        made.findings.extend(uncredited);
        Ok(Self { is_given, ..made })
    }

    /// The plan with the pictures in it.
    pub fn give(&self, plan: Plan) -> Plan {
        if self.of.is_empty() {
            return plan;
        }
        plan.pictured(|account| self.of.get(account).map(|(_, reference)| reference.clone()))
    }

    /// What a correction does to pictures where it changes the text of the post that stands and cannot change its picture.
    pub fn unchanged(&self, accounts: &[&Account], kind: Kind) -> Option<Finding> {
        let stays = |account: &&&Account| {
            kind == Kind::Correction
                && account.corrects_by_edit
                && !account.channel.changes_picture()
                && self.of.contains_key(&account.id)
        };
        let names: Vec<&str> = accounts
            .iter()
            .filter(stays)
            .map(|account| account.id.as_str())
            .collect();
        (!names.is_empty()).then(|| {
            let text = format!(
                "Inläggets bild byts inte ut när rättelsen ändrar texten på {}.",
                names.join(", ")
            );
            Finding::warn(CHECK, None, text)
        })
    }

    /// Every picture once.
    pub fn distinct(&self) -> Vec<Arc<Picture>> {
        let by_digest: BTreeMap<&str, &Arc<Picture>> = self
            .of
            .values()
            .map(|(picture, reference)| (reference.sha256.as_str(), picture))
            .collect();
        by_digest.into_values().map(Arc::clone).collect()
    }

    /// What the journal says of them: digests and words, never bytes.
    pub fn record(&self) -> serde_json::Value {
        let mut by_digest: BTreeMap<&str, (&PictureRef, Vec<&AccountId>)> = BTreeMap::new();
        for (account, (_, reference)) in &self.of {
            by_digest
                .entry(&reference.sha256)
                .or_insert_with(|| (reference, Vec::new()))
                .1
                .push(account);
        }
        by_digest
            .into_values()
            .map(|(picture, accounts)| serde_json::json!({ "picture": picture, "accounts": accounts }))
            .collect()
    }

    /// What an account will show.
    pub fn preview(&self, account: &Account) -> Option<PicturePreview> {
        let fitted = self.of.get(&account.id).map(|(_, reference)| reference.clone());
        let is_needed = account.settings.picture_rule().is_some_and(|rule| rule.required);
        match fitted {
            Some(picture) if self.is_given => Some(PicturePreview::Command(picture)),
            Some(picture) => Some(PicturePreview::Message(picture)),
            None if is_needed => Some(PicturePreview::Card),
            None => None,
        }
    }
}

/// The picture that goes, if one does. The command's own goes before that of the message.
fn source(
    request: &SendRequest,
    message: &PreparedMessage,
    municipality: &Municipality,
) -> Result<Option<Source>, AppError> {
    if let Some(given) = &request.picture {
        let bytes = STANDARD.decode(&given.file).map_err(|_| {
            AppError::Invalid("picture.file is no base64: give the bytes of a JPEG or PNG so".to_owned())
        })?;
        let credit = given.credit.as_deref().map(picture::credit).transpose();
        let credit = credit.map_err(AppError::Invalid)?;
        return Ok(Some(Source {
            bytes: bytes.into(),
            alt: given.alt.clone(),
            credit: credit.map(str::to_owned),
            is_given: true,
        }));
    }
    let Some(own) = &message.picture else {
        return Ok(None);
    };
    let languages = if request.languages.is_empty() {
        &municipality.languages
    } else {
        &request.languages
    };
    let lang = languages.first().copied().unwrap_or(Lang::Sv);
    // Swedish is always there; a language that the message does not have stops the command anyway.
    let alt = own.alt.get(&lang).or_else(|| own.alt.get(&Lang::Sv));
    Ok(Some(Source {
        bytes: Arc::clone(&own.bytes),
        alt: alt.cloned().unwrap_or_default(),
        credit: own.credit.clone(),
        is_given: false,
    }))
}

/// Unpacks the picture once and makes one for each rule, all rules at once.
fn make(source: &Source, rules: &[(AccountId, Option<PictureRule>)]) -> Result<Pictures, String> {
    let original = Original::read(&source.bytes, &source.alt)?;
    let mut distinct: Vec<PictureRule> = Vec::new();
    for rule in rules.iter().filter_map(|(_, rule)| rule.as_ref()) {
        if !distinct.iter().any(|known| is_same(known, rule)) {
            distinct.push(*rule);
        }
    }
    let credited = |picture: &Picture| PictureRef {
        credit: source.credit.clone(),
        ..picture.reference()
    };
    let fit = |rule: &PictureRule| {
        original
            .fit(rule)
            .map(|picture| (credited(&picture), Arc::new(picture)))
    };
    let fitted: Vec<Result<(PictureRef, Arc<Picture>), String>> = std::thread::scope(|scope| {
        let made: Vec<_> = distinct.iter().map(|rule| scope.spawn(|| fit(rule))).collect();
        made.into_iter()
            .map(|made| {
                made.join()
                    .unwrap_or_else(|_| Err("the picture cannot be made".to_owned()))
            })
            .collect()
    });
    let length = original.alt().chars().count();
    let mut pictures = Pictures::default();
    let mut none: Vec<&str> = Vec::new();
    for (account, rule) in rules {
        let Some(rule) = rule else {
            none.push(account.as_str());
            continue;
        };
        if length > rule.max_alt {
            pictures.findings.push(Finding::block(
                CHECK,
                Some(account),
                format!(
                    "Bildbeskrivningen är {length} tecken och {account} tar högst {}. Korta den.",
                    rule.max_alt
                ),
            ));
            continue;
        }
        let made = distinct.iter().position(|known| is_same(known, rule));
        match made.and_then(|at| fitted.get(at)) {
            Some(Ok((reference, picture))) => {
                let of = (Arc::clone(picture), reference.clone());
                pictures.of.insert(account.clone(), of);
            }
            Some(Err(why)) => pictures.findings.push(Finding::warn(
                CHECK,
                Some(account),
                format!("Bilden följer inte med på {account}: den går inte att göra liten nog ({why}). Välj en annan bild."),
            )),
            None => {}
        }
    }
    if !none.is_empty() {
        // Without a word the picture would be missing where somebody looks for it.
        let text = format!(
            "Bilden följer inte med på {}: dit går bara texten.",
            none.join(", ")
        );
        pictures.findings.push(Finding::warn(CHECK, None, text));
    }
    Ok(pictures)
}

/// What is to be said of a picture of which nobody says who made it.
fn uncredited(credit: Option<&str>, wanted: PictureCredit) -> Option<Finding> {
    const TEXT: &str =
        "Det står inte vem som har gjort bilden och med vilken rätt den används. Ange det med --credit.";
    if credit.is_some() {
        return None;
    }
    match wanted {
        PictureCredit::Block => Some(Finding::block(PICTURE_CREDIT, None, TEXT)),
        PictureCredit::Warn => Some(Finding::warn(PICTURE_CREDIT, None, TEXT)),
        PictureCredit::Off => None,
    }
}

/// Whether one picture serves both: how long a description may be and whether there must be a picture make no other.
fn is_same(one: &PictureRule, other: &PictureRule) -> bool {
    (one.media_types, one.max_bytes, one.max_edge) == (other.media_types, other.max_bytes, other.max_edge)
}
