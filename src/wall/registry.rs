//! Which simulator stands for which channel: a row per [`crate::channel::Kind`].

use http::Response;

use super::bluesky::Bluesky;
use super::discord::Discord;
use super::facebook_page::FacebookPage;
use super::instagram::Instagram;
use super::linkedin::LinkedIn;
use super::mastodon::Mastodon;
use super::matrix::Matrix;
use super::mattermost::Mattermost;
use super::ntfy::Ntfy;
use super::receiver::Receiver;
use super::sim::{Call, Simulator, error};
use super::slack::Slack;
use super::sms_46elks::Sms;
use super::teams::Teams;
use super::telegram::Telegram;
use super::threads::Threads;
use super::web_push::WebPush;
use super::whatsapp::WhatsApp;
use super::wordpress::WordPress;
use super::x::X;
use crate::model::AccountId;

type Make = fn(&AccountId, &str) -> Box<dyn Simulator>;

/// Every simulator that speaks HTTP. `file` has a WebDAV server over its own folder, `email` is read from the SMTP sink, and
/// nothing is sent to `manual` accounts; those three have no row.
const SIMULATORS: &[(&str, Make)] = &[
    ("bluesky", |account, _| Box::new(Bluesky::new(account))),
    ("discord", |account, name| Box::new(Discord::new(account, name))),
    ("http-json", |account, _| Box::new(Receiver::http_json(account))),
    ("facebook-page", |account, name| {
        Box::new(FacebookPage::new(account, name))
    }),
    ("instagram", |account, name| {
        Box::new(Instagram::new(account, name))
    }),
    ("linkedin", |account, name| Box::new(LinkedIn::new(account, name))),
    ("mastodon", |account, name| Box::new(Mastodon::new(account, name))),
    ("slack", |account, _| Box::new(Slack::new(account))),
    ("telegram", |account, name| Box::new(Telegram::new(account, name))),
    ("sms-46elks", |account, name| Box::new(Sms::new(account, name))),
    ("threads", |account, name| Box::new(Threads::new(account, name))),
    ("web-push", |account, _| Box::new(WebPush::new(account))),
    ("matrix", |account, _| Box::new(Matrix::new(account))),
    ("mattermost", |account, _| Box::new(Mattermost::new(account))),
    ("ntfy", |account, _| Box::new(Ntfy::new(account))),
    ("teams", |account, _| Box::new(Teams::new(account))),
    ("webhook", |account, _| Box::new(Receiver::webhook(account))),
    ("whatsapp", |account, name| Box::new(WhatsApp::new(account, name))),
    ("wordpress", |account, name| {
        Box::new(WordPress::new(account, name))
    }),
    ("x", |account, name| Box::new(X::new(account, name))),
];

/// A new simulated account of the channel named `kind_id`; `name` is what residents read above its posts.
pub(super) fn simulator(kind_id: &str, account: &AccountId, name: &str) -> Box<dyn Simulator> {
    SIMULATORS.iter().find(|(id, _)| *id == kind_id).map_or_else(
        || Box::new(Mute) as Box<dyn Simulator>,
        |(_, make)| make(account, name),
    )
}

/// Stands for a channel that is not reached over HTTP: refuses every request.
struct Mute;

impl Simulator for Mute {
    fn secrets(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn answer(&mut self, _call: Call<'_>) -> Response<Vec<u8>> {
        error(404, "this account takes nothing over HTTP")
    }
}
