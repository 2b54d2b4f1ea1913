//! What the account is: whose it is and what our token may, how readers find it, and what it can where they do not look.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::{Account, Login, blocking, brief, jpeg, no_sense, renewal};
use crate::channel::graph::{container, readback, token};
use crate::channel::portrait::{self, flaw};
use crate::channel::{Backstage, Identity, Profile, Rights};
use crate::compose::card;
use crate::model::{Post, Reason, SendError};

/// What our work needs, by the log-in that the token came through (reference page §1).
const NEEDS: &[&[&str]] = &[&["instagram_basic"], &["instagram_content_publish"]];
const BESIDE: &[&str] = &[
    "instagram_manage_comments",
    "pages_show_list",
    "pages_read_engagement",
    "pages_manage_posts",
    "pages_manage_engagement",
    "pages_read_user_content",
    "pages_manage_metadata",
    "public_profile",
    "business_management",
];

impl Account {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        let user = self.settings.user_id.as_str();
        let (mut facts, me) = match self.settings.login {
            Login::Facebook => {
                let fields = [("fields", "id,username,biography,website,is_published")];
                (BTreeMap::new(), self.graph.get(&[user], &fields).await?)
            }
            Login::Instagram => {
                let facts = renewal::renew(&self.graph, "refresh_access_token", "ig_refresh_token").await?;
                let fields = [("fields", "user_id,username,biography,website")];
                (facts, self.graph.get(&["me"], &fields).await?)
            }
        };
        let number = match self.settings.login {
            Login::Facebook => &me["id"],
            Login::Instagram => &me["user_id"],
        };
        if number != user {
            let text = format!("the token is not one for account {user}; make one for it");
            return Err(SendError::Refused(Reason::new("wrong-token", text)));
        }
        let name = me["username"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| no_sense("the account has no name"))?;
        let mut flaws = Vec::new();
        // Nothing can be clicked in a caption: the profile is where the address has to stand.
        let website = me["website"].as_str().filter(|text| !text.is_empty());
        facts.insert("website".to_owned(), website.map_or("none".to_owned(), brief));
        if website.is_none() {
            let text =
                "the profile names no website, and nothing can be clicked in a post: set it in the app";
            flaws.push(flaw("no-website", text));
        }
        if me["is_published"] == false {
            let text = "the public does not see the account: make it public in the app";
            flaws.push(flaw("unpublished", text));
        }
        // A token that may not publish is refused here.
        let fields = [("fields", "quota_usage,config")];
        let quota = self
            .graph
            .get(&[user, "content_publishing_limit"], &fields)
            .await?;
        let quota = &quota["data"][0];
        if let (Some(used), Some(total)) = (
            quota["quota_usage"].as_u64(),
            quota["config"]["quota_total"].as_u64(),
        ) {
            let left = total.saturating_sub(used);
            facts.insert("posts_left".to_owned(), left.to_string());
            if left == 0 {
                flaws.push(flaw(
                    "no-quota",
                    format!("none of the day's {total} posts is left; they come back one by one"),
                ));
            }
        }
        let public = &self.settings.public;
        public
            .try_out(self.id.as_str())
            .await
            .map_err(SendError::Refused)?;
        let settings = self.settings.clone();
        blocking(move || settings.font().map(drop))
            .await
            .map_err(SendError::Refused)?;
        let token = self.token_told().await?;
        if let Some(token) = &token {
            flaws.extend(token.flaws(self.graph.now()));
        }
        let rights = token
            .as_ref()
            .map(|token| Rights::compare(token.scopes.iter().cloned(), NEEDS, BESIDE));
        if let Some(rights) = &rights {
            flaws.extend(portrait::missing(rights, &[]));
        }
        Ok(Identity {
            proves: crate::model::Proves::SignIn,
            name: brief(name),
            id: Some(user.to_owned()),
            expires_at: token
                .and_then(|token| token.expires_at)
                .or(renewal::until(&self.graph)),
            rights,
            flaws,
            facts,
        })
    }

    /// What the service tells of our token. Through its own log-in it tells nothing (reference page §1).
    async fn token_told(&self) -> Result<Option<token::Token>, SendError> {
        if self.settings.login == Login::Instagram {
            return Ok(None);
        }
        let secret = self.graph.token()?;
        let ours = [("input_token", secret.expose_secret())];
        match self.graph.unversioned(&["debug_token"], &ours).await {
            Ok(answer) => token::told(&answer, Some(&self.settings.user_id)),
            Err(_) => Ok(None),
        }
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let fields = "id,username,name,biography,website,profile_picture_url,followers_count,media_count";
        let user = match self.settings.login {
            Login::Facebook => self.settings.user_id.as_str(),
            Login::Instagram => "me",
        };
        let me = self.graph.get(&[user], &[("fields", fields)]).await?;
        let latest = [("fields", "id,timestamp"), ("limit", "10")];
        let posts = self.graph.get(&self.list(), &latest).await?;
        let posts = posts["data"]
            .as_array()
            .ok_or_else(|| no_sense("no list of posts"))?;
        let latest = posts
            .iter()
            .filter_map(|post| portrait::latest(post["id"].as_str(), readback::made(post), None));
        let text = |field: &str| me[field].as_str().unwrap_or_default();
        let address = format!("https://www.instagram.com/{}/", text("username"));
        let said = [text("biography"), text("website")];
        Ok(Profile {
            name: brief(me["name"].as_str().unwrap_or(text("username"))),
            texts: portrait::texts(said),
            links: portrait::links(
                [address.as_str(), text("website")]
                    .into_iter()
                    .chain(said.into_iter().flat_map(portrait::links_in)),
            ),
            picture: self.graph.picture(me["profile_picture_url"].as_str()).await,
            followers: me["followers_count"].as_u64(),
            posts: me["media_count"].as_u64(),
            latest: portrait::newest(latest),
            admins: Vec::new(),
        })
    }

    /// A container that nobody publishes is seen by nobody, and is gone after a day. Its picture has to lie where the
    /// public could find it, so that it shows nothing of the message, and is taken away when the service has it.
    pub(super) async fn rehearse(&self, post: &Post) -> Result<Backstage, SendError> {
        let (settings, sender) = (self.settings.clone(), self.sender.clone());
        let picture = blocking(move || {
            let words = card::Words {
                headline: "Prov".to_owned(),
                body: Vec::new(),
                address: String::new(),
                more: String::new(),
                sender,
            };
            let card = card::draw(&words, settings.look, &settings.font()?);
            let card = card.map_err(|why| Reason::new("card", why))?;
            Ok(Arc::new(jpeg(card.jpeg, "Prov".to_owned())))
        });
        let picture = picture.await.map_err(SendError::NotSent)?;
        let public = &self.settings.public;
        let url = public.put(self.id.as_str(), &picture).await;
        let url = url.map_err(SendError::NotSent)?;
        let fields = [
            ("caption", post.rendering.text.as_str()),
            ("image_url", url.as_str()),
            ("alt_text", "Prov"),
        ];
        let made = container::hidden(&self.graph, &self.form, &fields).await;
        public.remove(&picture).await.map_err(SendError::NotSent)?;
        made
    }
}
