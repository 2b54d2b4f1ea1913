//! What the profile is: whose it is and what our token may, how readers find it, and what it can where they do not look.

use secrecy::ExposeSecret;

use super::{Account, brief, no_sense, renewal};
use crate::channel::graph::{container, readback, token};
use crate::channel::portrait::{self, flaw};
use crate::channel::{Backstage, Identity, Profile, Rights};
use crate::model::{Post, Reason, SendError};

/// What our work needs (reference page §2).
const NEEDS: &[&[&str]] = &[
    &["threads_basic"],
    &["threads_content_publish"],
    &["threads_manage_replies"],
    &["threads_read_replies"],
    &["threads_delete"],
];
const BESIDE: &[&str] = &["threads_manage_insights"];
const LOST: &[(&str, &str)] = &[
    (
        "threads_manage_replies",
        "an update cannot stand under the first post, nor a long text become a thread",
    ),
    (
        "threads_read_replies",
        "a part of unknown outcome cannot be looked for",
    ),
    ("threads_delete", "posts cannot be taken away"),
];

impl Account {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        let mut facts = renewal::renew(&self.graph, "refresh_access_token", "th_refresh_token").await?;
        let fields = [("fields", "id,username,name,threads_biography,is_verified")];
        let me = self.graph.get(&["me"], &fields).await?;
        let user = self.settings.user_id.as_str();
        if me["id"] != user {
            let text = format!("the token is not that of profile {user}; make one for it");
            return Err(SendError::Refused(Reason::new("wrong-token", text)));
        }
        let name = me["username"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| no_sense("the profile has no name"))?;
        let told = portrait::facts([("biography", me["threads_biography"].as_str().map(str::to_owned))]);
        facts.extend(told);
        // A token that may not publish is refused here.
        let fields = [("fields", "quota_usage,config,reply_quota_usage,reply_config")];
        let quota = self
            .graph
            .get(&["me", "threads_publishing_limit"], &fields)
            .await?;
        let quota = &quota["data"][0];
        let mut flaws = Vec::new();
        for (fact, used, config) in [
            ("posts_left", "quota_usage", "config"),
            ("replies_left", "reply_quota_usage", "reply_config"),
        ] {
            if let (Some(used), Some(total)) = (quota[used].as_u64(), quota[config]["quota_total"].as_u64()) {
                let left = total.saturating_sub(used);
                facts.insert(fact.to_owned(), left.to_string());
                if left == 0 {
                    flaws.push(flaw(
                        "no-quota",
                        format!("{fact}: none of the day's {total}; they come back one by one"),
                    ));
                }
            }
        }
        if let Some(public) = &self.settings.public
            && let Err(reason) = public.try_out(self.id.as_str()).await
        {
            let text = format!("pictures cannot be shown: {reason}");
            facts.insert("public_folder".to_owned(), brief(&text));
            flaws.push(flaw("public-folder", text));
        }
        let token = self.token_told().await?;
        if let Some(token) = &token {
            flaws.extend(token.flaws(self.graph.now()));
        }
        let rights = token
            .as_ref()
            .map(|token| Rights::compare(token.scopes.iter().cloned(), NEEDS, BESIDE));
        if let Some(rights) = &rights {
            flaws.extend(portrait::missing(rights, LOST));
        }
        Ok(Identity {
            proves: crate::model::Proves::SignIn,
            name: brief(name),
            id: Some(user.to_owned()),
            // What renewal knows is true of the token that took the place of the one in the vault.
            expires_at: token
                .and_then(|token| token.expires_at)
                .or(renewal::until(&self.graph)),
            rights,
            flaws,
            facts,
        })
    }

    async fn token_told(&self) -> Result<Option<token::Token>, SendError> {
        let secret = self.graph.token()?;
        let ours = [("input_token", secret.expose_secret())];
        match self.graph.unversioned(&["debug_token"], &ours).await {
            Ok(answer) => token::told(&answer, Some(&self.settings.user_id)),
            Err(_) => Ok(None),
        }
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let fields = "id,username,name,threads_biography,threads_profile_picture_url";
        let me = self.graph.get(&["me"], &[("fields", fields)]).await?;
        let latest = [("fields", "id,timestamp,permalink"), ("limit", "10")];
        let posts = self.graph.get(&["me", "threads"], &latest).await?;
        let posts = posts["data"]
            .as_array()
            .ok_or_else(|| no_sense("no list of posts"))?;
        let latest = posts
            .iter()
            .filter_map(|post| portrait::latest(post["id"].as_str(), readback::made(post), None));
        let text = |field: &str| me[field].as_str().unwrap_or_default();
        let address = format!("https://www.threads.net/@{}", text("username"));
        let about = text("threads_biography");
        Ok(Profile {
            name: brief(me["name"].as_str().unwrap_or(text("username"))),
            texts: portrait::texts([about]),
            links: portrait::links(std::iter::once(address.as_str()).chain(portrait::links_in(about))),
            picture: self
                .graph
                .picture(me["threads_profile_picture_url"].as_str())
                .await,
            followers: None,
            posts: None,
            latest: portrait::newest(latest),
            admins: Vec::new(),
        })
    }

    /// A container that nobody publishes is seen by nobody, and is gone after a day.
    pub(super) async fn rehearse(&self, post: &Post) -> Result<Backstage, SendError> {
        let text = self.texts(post).map_err(SendError::Refused)?.swap_remove(0);
        let fields = [("media_type", "TEXT"), ("text", text.as_str())];
        container::hidden(&self.graph, &self.form, &fields).await
    }
}
