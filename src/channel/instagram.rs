//! A professional Instagram account.
//!
//! There is no post without a picture, so that a message without one goes out with its text drawn on a card. A picture is
//! fetched by Meta from the municipality's own public folder; then it is as on Threads: a container that nobody sees is
//! made, and published once. Its id is on disk before that.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use url::Url;

use super::graph::Fault;
use super::graph::client::{Graph, Trouble, brief, no_sense, trouble};
use super::graph::container::{Draft, Exchange, Form, Out, Pauses, Picture as Pictured, is_nameless};
use super::graph::readback::{self, Look};
use super::graph::renewal;
use super::graph::sign_in::{ByFacebook, ByItself, Own, Wanted};
use super::patience::{Patience, Search};
use super::public_folder::PublicFolder;
use super::shown::words_with;
use super::transport::Effect;
use super::{
    Backstage, Capabilities, Caveat, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Settings,
    Shown, WallSite,
};
use crate::compose::TextRule;
use crate::compose::card::{self, Colour};
use crate::config::section::Section;
use crate::model::{
    AccountId, Kind as Does, Lang, Picture, PictureRule, Post, Proof, Question, Reason, Receipt, Rendering,
    SendError, Settled, Unit,
};

mod face;

/// A professional Instagram account.
pub static KIND: Kind = Kind {
    id: "instagram",
    about: "A professional Instagram account",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: false,
        edit: false,
        retract: true,
        pin: false,
        picture: true,
        link_card: false,
        recipients: false,
        by_hand: false,
        profile: true,
        backstage: true,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[
            SecretName {
                name: "access_token",
                required: true,
                internal: false,
            },
            SecretName {
                name: "app_secret",
                required: false,
                internal: false,
            },
            SecretName {
                name: renewal::STATE,
                required: false,
                internal: true,
            },
            // Of the app by which a person signs the account in; the second one is the app secret once more.
            SecretName {
                name: "client_id",
                required: false,
                internal: false,
            },
            SecretName {
                name: "client_secret",
                required: false,
                internal: false,
            },
        ];
        SECRETS
    },
    // 50 or 100 posts a day, depending on which page of the documentation one reads (read 2026-08); with headroom.
    pace: Pace {
        attempts: 40,
        per: Duration::from_hours(24),
        burst: 10,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// The number of every simulated account: the adapter of a drill does not even know that of the real one.
pub(crate) const PRACTICE_USER: &str = "1784";

/// Counted in UTF-16 units, the most cautious reading of "characters" (reference page §2).
pub(crate) const MAX_CAPTION: usize = 2200;
/// Longest alternative text, in characters.
pub(crate) const MAX_ALT: usize = 1000;
/// Most hashtags and most mentions of a caption (reference page §2).
const MAX_HASHTAGS: usize = 30;
const MAX_MENTIONS: usize = 20;
/// What the service takes as a picture (reference page §2). Its shape is seen to when it is written.
const PICTURE: PictureRule = PictureRule {
    media_types: &["image/jpeg"],
    max_bytes: 8_000_000,
    max_edge: 1440,
    max_alt: MAX_ALT,
    required: true,
};
/// Lives until 2028 at least (changelog of the Graph API, read 2026-08).
const DEFAULT_VERSION: &str = "v26.0";
/// How long after an attempt its post may take to show.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(30);
/// The same on the practice wall, where a post shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// How long the address of a published post is waited for. It is only for show.
const COURTESY: Duration = Duration::from_secs(3);
/// White on dark blue: a contrast of 9.6.
const BACKGROUND: Colour = Colour([0, 70, 127]);
const TEXT: Colour = Colour([255, 255, 255]);
/// Largest font file that is read.
const MAX_FONT: u64 = 32 * 1024 * 1024;

/// Through whose log-in the token came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// Through the Facebook page that the account is linked with.
    Facebook,
    /// Through Instagram itself: the token has to be renewed, and posts cannot be taken away.
    Instagram,
}

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let user_id =
        section.required::<String>("user_id", "the account's number, such as \"17841400000000002\"");
    let is_number = |id: &str| !id.is_empty() && id.len() <= 30 && id.bytes().all(|b| b.is_ascii_digit());
    if user_id.as_ref().is_some_and(|id| !is_number(id)) {
        section.problem(
            "user_id",
            "must be the account's number: digits only, in quotation marks",
        );
    }
    let login = match section.one_of("login", &["facebook", "instagram"]) {
        Some("instagram") => Login::Instagram,
        _ => Login::Facebook,
    };
    let version = section
        .optional::<String>("version", "a version of the Graph API, such as \"v26.0\"")
        .unwrap_or_else(|| DEFAULT_VERSION.to_owned());
    let is_version = version
        .strip_prefix('v')
        .and_then(|text| text.split_once('.'))
        .is_some_and(|(major, minor)| is_number(major) && is_number(minor));
    if !is_version {
        section.problem(
            "version",
            format!("{version:?} is no version; expected one such as \"v26.0\""),
        );
    }
    let base_url = section.address("base_url", false);
    let login_url = section.address("login_url", false);
    let public = PublicFolder::read(section, true);
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    let colour = "a colour such as \"#00467f\"";
    let look = card::Look {
        background: section.parsed("card_background", colour).unwrap_or(BACKGROUND),
        text: section.parsed("card_text", colour).unwrap_or(TEXT),
    };
    let contrast = card::contrast(look.background, look.text);
    if contrast < card::LEAST_CONTRAST {
        section.problem(
            "card_text",
            format!(
                "has a contrast of {contrast:.1} to card_background; WCAG 2.1 AA asks for {} at least: take a lighter \
                 or a darker one",
                card::LEAST_CONTRAST
            ),
        );
    }
    let font: Option<PathBuf> = section.optional("card_font", "the path of a TrueType font");
    if font.as_ref().is_some_and(|path| !path.is_absolute()) {
        section.problem("card_font", "is not an absolute path");
    }
    if section.is_broken() {
        return None;
    }
    let (host, page, codes) = match login {
        Login::Facebook => (
            "https://graph.facebook.com",
            "https://www.facebook.com",
            "https://graph.facebook.com",
        ),
        Login::Instagram => (
            "https://graph.instagram.com",
            "https://www.instagram.com",
            "https://api.instagram.com",
        ),
    };
    Some(Box::new(Instagram {
        user_id: user_id?,
        login,
        base_url: match base_url {
            Some(url) => url,
            None => Url::parse(host).ok()?,
        },
        codes_url: match &login_url {
            Some(url) => url.clone(),
            None => Url::parse(codes).ok()?,
        },
        login_url: match login_url {
            Some(url) => url,
            None => Url::parse(page).ok()?,
        },
        version,
        public: public?,
        look,
        font,
        settle_wait,
        pauses: Pauses::REAL,
    }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Instagram {
    user_id: String,
    login: Login,
    base_url: Url,
    /// Where a person signs the account in, and where the code that comes of it is exchanged.
    login_url: Url,
    codes_url: Url,
    version: String,
    public: PublicFolder,
    look: card::Look,
    /// The font of cards, if it is not [`card::FONT`].
    font: Option<PathBuf>,
    settle_wait: Duration,
    pauses: Pauses,
}

impl Settings for Instagram {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(MAX_CAPTION),
            unit: Unit::Utf16,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            user_id: PRACTICE_USER.to_owned(),
            base_url: site.base.clone(),
            login_url: site.base.clone(),
            codes_url: site.base.clone(),
            public: PublicFolder::at_wall(site),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
            pauses: Pauses::WALL,
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("base_url", self.base_url.to_string()),
            ("login_url", self.login_url.to_string()),
            ("user_id", self.user_id.clone()),
        ];
        all.extend(self.public.addresses());
        all
    }

    fn retracts(&self) -> Option<bool> {
        Some(self.login == Login::Facebook)
    }

    fn caveats(&self) -> &'static [Caveat] {
        &[Caveat::DeadLink]
    }

    fn refuses(&self, rendering: &Rendering) -> Option<String> {
        let found = [
            ('#', "hashtaggar", MAX_HASHTAGS),
            ('@', "omnämnanden", MAX_MENTIONS),
        ];
        found.into_iter().find_map(|(sign, what, most)| {
            let many = words_with(sign, &rendering.text);
            (many > most).then(|| {
                format!("Instagram tar högst {most} {what} ({sign}) och texten har {many}. Ta bort några.")
            })
        })
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        vec![Shown::new("caption", &rendering.text)]
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(PICTURE)
    }

    fn sign_in(&self, parts: &Parts) -> Option<Box<dyn super::SignIn>> {
        const OWN: Own = Own {
            service: "Instagram",
            scopes: &["instagram_business_basic", "instagram_business_content_publish"],
            needed: "instagram_business_content_publish",
            grant: "ig_exchange_token",
            number: "user_id",
            tells: false,
        };
        let (login, base, version) = (&self.login_url, &self.base_url, self.version.as_str());
        Some(match self.login {
            Login::Facebook => {
                let wanted = Wanted::Instagram(self.user_id.clone());
                Box::new(ByFacebook::new(login, base, version, wanted, parts))
            }
            Login::Instagram => {
                let at = [login, &self.codes_url, base];
                Box::new(ByItself::new(OWN, at, version, &self.user_id, parts))
            }
        })
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("access_token")?;
        Ok(Arc::new(Account {
            graph: Graph::new(self.base_url.clone(), self.version.clone(), &parts)
                .proving(self.login == Login::Facebook),
            form: Form {
                make: [self.user_id.clone(), "media".to_owned()],
                publish: [self.user_id.clone(), "media_publish".to_owned()],
                status: "status_code",
                wrong: "status",
                pauses: self.pauses,
            },
            id: parts.account,
            sender: parts.sender,
            settings: self.clone(),
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    id: AccountId,
    sender: String,
    settings: Instagram,
    graph: Graph,
    form: Form,
}

/// A post is a thread of one part.
const PART: usize = 1;

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let exchange = self.exchange(post);
        let draft = self.draft(post).await.map_err(SendError::NotSent)?;
        let path = self.list();
        let others = post.root.iter().chain(&post.parent);
        let taken: Vec<String> = others.map(|receipt| receipt.remote_id.clone()).collect();
        let look = Look {
            path: &path,
            words: "caption",
            wanted: &post.rendering.text,
            since: self.graph.earliest(post.accepted_at),
            taken: &taken,
        };
        let mut receipt = match exchange.bring_out(PART, &draft, look).await? {
            Out::Published(id) => Receipt::of(id),
            Out::Somewhere => self.find(&exchange, look).await?,
        };
        if receipt.url.is_none() {
            receipt.url = self.address(&receipt.remote_id).await;
        }
        receipt.note = note(post, receipt.note);
        Ok(receipt)
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let post = &question.post;
        let exchange = self.exchange(post);
        if let Some(id) = exchange.id(PART) {
            let mut receipt = Receipt::of(id);
            receipt.url = self.address(&receipt.remote_id).await;
            receipt.note = note(post, None);
            return Ok(Settled::Found(receipt));
        }
        let path = self.list();
        let look = Look {
            path: &path,
            words: "caption",
            wanted: &post.rendering.text,
            since: question.earliest(),
            taken: &question.taken,
        };
        let patience = Patience::of(self.settings.settle_wait);
        Ok(match exchange.settle(PART, look, question, patience).await? {
            Settled::Found(receipt) => Settled::Found(Receipt {
                note: note(post, receipt.note.clone()),
                ..receipt
            }),
            other @ (Settled::Absent | Settled::Refused(_) | Settled::Unclear(_)) => other,
        })
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        let id = receipt.remote_id.as_str();
        let by_hand = |why: &str| {
            let text = format!("{why}; take the post away in the Instagram app");
            SendError::Refused(Reason::new("no-retract", text))
        };
        if is_nameless(id) {
            return Err(by_hand("the service never told the post's id"));
        }
        if self.settings.login == Login::Instagram {
            return Err(by_hand("a token of the Instagram log-in cannot take posts away"));
        }
        // Taking away twice is harmless, so that a failure never needs settling.
        let answer = self.graph.send(Method::DELETE, &[id], &[], Effect::Reads).await?;
        match trouble(&answer) {
            None if answer.json().is_some_and(|body| body["success"] == true) => Ok(()),
            None => Err(no_sense("it does not say that the post is gone")),
            // Says the same of what is not there and of what it does not do: whether the post can be read tells.
            Some(Trouble::Lost(_) | Trouble::Fault(Fault::Missing(_))) => {
                let fields = [("fields", "id")];
                let answer = self
                    .graph
                    .send(Method::GET, &[id], &fields, Effect::Reads)
                    .await?;
                match trouble(&answer) {
                    None => Err(by_hand("the service does not let this token take posts away")),
                    Some(Trouble::Lost(_) | Trouble::Fault(Fault::Missing(_))) => Ok(()),
                    Some(trouble) => Err(self.graph.on_read(trouble)),
                }
            }
            Some(trouble) => Err(self.graph.on_read(trouble)),
        }
    }

    fn quota(&self) -> Option<crate::model::Quota> {
        self.graph.quota()
    }

    async fn renew(&self, now: crate::clock::Timestamp) -> Result<super::Renewal, SendError> {
        if self.settings.login == Login::Facebook {
            // The page's token is not renewed; it has no end of its own.
            return Ok(super::Renewal::Never);
        }
        renewal::look(&self.graph, "refresh_access_token", "ig_refresh_token", now).await
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.identify().await
    }

    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        self.portray().await.map(Some)
    }

    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        self.rehearse(post).await
    }
}

impl Account {
    fn exchange<'a>(&'a self, post: &'a Post) -> Exchange<'a> {
        Exchange {
            graph: &self.graph,
            form: &self.form,
            steps: &post.steps,
        }
    }

    fn list(&self) -> [&str; 2] {
        [self.settings.user_id.as_str(), "media"]
    }

    /// Writes the picture where Meta fetches it, and says what the container is made of.
    async fn draft(&self, post: &Post) -> Result<Draft, Reason> {
        let picture = if let Some(picture) = &post.picture {
            let (picture, ground) = (Arc::clone(picture), self.settings.look.background);
            blocking(move || {
                let bytes = card::shaped(&picture, ground).map_err(|why| Reason::new("picture", why))?;
                Ok(jpeg(bytes, picture.alt.clone()))
            })
            .await?
        } else {
            let (words, settings) = (words(post, &self.sender), self.settings.clone());
            blocking(move || {
                let font = settings.font()?;
                let card =
                    card::draw(&words, settings.look, &font).map_err(|why| Reason::new("card", why))?;
                Ok(jpeg(card.jpeg, alt(&card.shown)))
            })
            .await?
        };
        let url = self.settings.public.put(self.id.as_str(), &picture).await?;
        Ok(Draft {
            fields: vec![("caption", post.rendering.text.clone())],
            picture: Some(Pictured {
                with: vec![("image_url", url.into()), ("alt_text", picture.alt)],
                without: None,
            }),
            plain: None,
            answer_to: None,
        })
    }

    /// The post that an earlier attempt published.
    async fn find(&self, exchange: &Exchange<'_>, look: Look<'_>) -> Result<Receipt, SendError> {
        let receipt = match readback::search(&self.graph, look).await? {
            Search::Found(receipt) => receipt,
            Search::NotThere | Search::TooMuch => exchange
                .nameless(PART)
                .ok_or_else(|| no_sense("a post without a container"))?,
        };
        let noted = exchange.note_id(PART, &receipt.remote_id).await;
        noted.map_err(SendError::NotSent)?;
        Ok(receipt)
    }

    /// Where residents find a post. It is out: whatever goes wrong here is no failure.
    async fn address(&self, id: &str) -> Option<String> {
        if is_nameless(id) {
            return None;
        }
        let path = [id];
        let asked = self.graph.get(&path, &[("fields", "id,permalink")]);
        let answer = tokio::time::timeout(COURTESY, asked).await.ok()?.ok()?;
        readback::address(&answer)
    }
}

impl Instagram {
    /// The font of cards.
    fn font(&self) -> Result<Cow<'static, [u8]>, Reason> {
        let Some(path) = &self.font else {
            return Ok(card::FONT.into());
        };
        let size = std::fs::metadata(path).map(|about| about.len());
        let told = match size.and_then(|size| {
            if size > MAX_FONT {
                Ok(Vec::new())
            } else {
                std::fs::read(path)
            }
        }) {
            Ok(bytes) if !bytes.is_empty() => return Ok(bytes.into()),
            Ok(_) => "empty or too large".to_owned(),
            Err(error) => error.to_string(),
        };
        let text = format!(
            "no font for the card: {}: {told}; leave card_font out, and the built-in one is used",
            path.display()
        );
        Err(Reason::new("no-font", text))
    }
}

/// What a receipt says of the post's picture, and of what else there is to say.
fn note(post: &Post, also: Option<String>) -> Option<String> {
    let card = post.picture.is_none();
    let card = card.then(|| "with a card that shows the text, as the message has no picture".to_owned());
    super::without::joined(card.into_iter().chain(also))
}

/// Work that would hold up the others.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Reason> + Send + 'static,
) -> Result<T, Reason> {
    let failed = |_| {
        Reason::new(
            "picture",
            "the picture could not be made; this is a fault in Vårdkase",
        )
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

fn jpeg(bytes: Vec<u8>, alt: String) -> Picture {
    Picture {
        bytes,
        media_type: "image/jpeg",
        width: 0,
        height: 0,
        alt,
    }
}

/// What the card says: the headline, the text without what stands on the card anyway, the sender, and the address as one
/// writes it down.
fn words(post: &Post, sender: &str) -> card::Words {
    let rendering = &post.rendering;
    let text = rendering.text.trim();
    let text = text
        .strip_suffix(rendering.link.as_str())
        .unwrap_or(text)
        .trim_end();
    let alone = text.strip_suffix(sender).filter(|before| before.ends_with('\n'));
    let text = alone.unwrap_or(text).trim();
    let body = text
        .split("\n\n")
        .map(str::trim)
        .filter(|paragraph| !paragraph.is_empty() && *paragraph != rendering.headline);
    let link = rendering.link.as_str();
    let address = link.split_once("://").map_or(link, |(_, address)| address);
    card::Words {
        headline: rendering.headline.clone(),
        body: body.map(str::to_owned).collect(),
        sender: sender.to_owned(),
        address: address.trim_end_matches('/').to_owned(),
        more: match rendering.languages.first() {
            Some(Lang::En) => "The full text is below the picture.".to_owned(),
            Some(Lang::Sv) | None => "Hela texten står under bilden.".to_owned(),
        },
    }
}

/// The card in words: whatever of it has room, in its order.
fn alt(shown: &[String]) -> String {
    let mut alt = String::new();
    for text in shown {
        let between = if alt.is_empty() {
            ""
        } else if alt.ends_with(['.', '!', '?', ':']) {
            " "
        } else {
            ". "
        };
        if alt.chars().count() + between.len() + text.chars().count() <= MAX_ALT {
            alt.push_str(between);
            alt.push_str(text);
        }
    }
    alt
}

#[cfg(test)]
mod tests;
