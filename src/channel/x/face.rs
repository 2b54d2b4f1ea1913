//! What the account is, and how readers find it. Reading costs: 0.010 USD for the account and 0.001 for each of its posts
//! (reference page §1, read 2026-08), the same thing once in a day. There is no place that the public cannot see.

use super::{Account, brief, no_sense};
use crate::channel::portrait::{self, flaw};
use crate::channel::{Identity, Profile, Rights};
use crate::clock::Timestamp;
use crate::model::{Reason, SendError};

const WHO: &str = "id,name,username,protected,verified";
const PORTRAIT: &str =
    "id,name,username,description,entities,url,location,public_metrics,profile_image_url,pinned_tweet_id";
/// The fewest posts that an answer can be asked for.
const FEW: &str = "5";

impl Account {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        let fields = [("user.fields", WHO)];
        let (body, answer) = self.get(&["2", "users", "me"], &fields).await?;
        let me = &body["data"];
        let name = me["username"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| no_sense("the account has no name"))?;
        let id = self.settings.user_id.as_str();
        if me["id"] != id {
            let text = format!(
                "the tokens are those of @{}, not of the account {id}; make tokens for it or correct `user_id`",
                brief(name),
            );
            return Err(SendError::Refused(Reason::new("wrong-token", text)));
        }
        let level = answer.header("x-access-level");
        if level.is_some_and(|level| !level.contains("write")) {
            let text =
                "the access token may only read; give the app \"Read and write\" and make the token anew";
            return Err(SendError::Refused(Reason::new("scope", text)));
        }
        let yes = |field: &str, words: &str| (me[field] == true).then(|| words.to_owned());
        let protected = yes("protected", "yes: only followers see the posts; open the account");
        let flaws = protected.iter().map(|text| flaw("protected", text)).collect();
        // Direct messages are none of our work.
        let rights = level.map(|level| {
            let held = level.split('-').map(|word| word.trim().to_owned());
            Rights::compare(held, &[&["read"], &["write"]], &[])
        });
        Ok(Identity {
            name: format!("@{}", brief(name)),
            id: Some(id.to_owned()),
            rights,
            flaws,
            facts: portrait::facts([
                ("user_id", Some(id.to_owned())),
                ("access", level.map(str::to_owned)),
                ("protected", protected),
                ("verified", yes("verified", "yes")),
                (
                    "credits",
                    Some("not told by X: only a post shows whether there are any left".to_owned()),
                ),
            ]),
            ..Identity::default()
        })
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let (body, _) = self
            .get(&["2", "users", "me"], &[("user.fields", PORTRAIT)])
            .await?;
        let me = &body["data"];
        let latest = [
            ("max_results", FEW),
            ("exclude", "replies,retweets"),
            ("tweet.fields", "created_at"),
        ];
        let path = ["2", "users", self.settings.user_id.as_str(), "tweets"];
        let (posts, _) = self.get(&path, &latest).await?;
        let posts = posts["data"].as_array().into_iter().flatten();
        let latest = posts.filter_map(|post| {
            let at: Option<Timestamp> = post["created_at"].as_str().and_then(|at| at.parse().ok());
            portrait::latest(post["id"].as_str(), at, None)
        });
        let text = |field: &str| me[field].as_str().unwrap_or_default();
        let address = format!("https://x.com/{}", text("username"));
        // Addresses stand shortened in the text; what they lead to stands beside it.
        let of = |what: &str| me["entities"][what]["urls"].as_array().into_iter().flatten();
        let mut description = text("description").to_owned();
        for url in of("description") {
            if let (Some(short), Some(long)) = (url["url"].as_str(), url["expanded_url"].as_str()) {
                description = description.replace(short, long);
            }
        }
        let website = of("url").find_map(|url| url["expanded_url"].as_str());
        let website = website.unwrap_or(text("url"));
        let metrics = &me["public_metrics"];
        Ok(Profile {
            name: brief(text("name")),
            texts: portrait::texts([description.as_str(), website, text("location")]),
            links: portrait::links(
                [address.as_str(), website]
                    .into_iter()
                    .chain(portrait::links_in(&description)),
            ),
            picture: portrait::picture(
                &self.http,
                &self.settings.base_url,
                me["profile_image_url"].as_str(),
            )
            .await,
            followers: metrics["followers_count"].as_u64(),
            posts: metrics["tweet_count"].as_u64(),
            latest: portrait::newest(latest),
            admins: Vec::new(),
        })
    }
}
