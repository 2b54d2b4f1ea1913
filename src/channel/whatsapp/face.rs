//! What the number is: whose it is and what our token may, how its template stands, and how readers find it. There is no
//! place that the public cannot see: every message is paid for and goes to somebody.

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{Account, no_sense, verdict};
use crate::channel::graph::token;
use crate::channel::portrait::{self, flaw};
use crate::channel::transport::Effect;
use crate::channel::{Identity, Profile, Rights};
use crate::model::{Reason, SendError};

/// What our work needs (reference page §1).
const NEEDS: &[&[&str]] = &[
    &["whatsapp_business_messaging"],
    &["whatsapp_business_management"],
];
const BESIDE: &[&str] = &["business_management", "public_profile"];
const LOST: &[(&str, &str)] = &[
    ("whatsapp_business_messaging", "no message is sent"),
    (
        "whatsapp_business_management",
        "neither the template nor the profile can be read",
    ),
];
const ABOUT: &str = "about,address,description,email,profile_picture_url,websites,vertical";

impl Account {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        let mut url = self.url(&[&self.settings.number]);
        let fields = "verified_name,display_phone_number,quality_rating,messaging_limit_tier,health_status";
        url.query_pairs_mut().append_pair("fields", fields);
        let me = self.get(url).await?;
        let name = me["verified_name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| no_sense("the number has no name"))?;
        let sending = me["health_status"]["can_send_message"].as_str();
        if sending == Some("BLOCKED") {
            let text = "Meta lets this number send nothing; see the account's health in WhatsApp Manager";
            return Err(SendError::Credential(Reason::new("blocked", text)));
        }
        let mut flaws = Vec::new();
        if sending == Some("LIMITED") {
            let text =
                "Meta lets this number send to some only; see the account's health in WhatsApp Manager";
            flaws.push(flaw("limited", text));
        }
        if me["quality_rating"] == "RED" {
            let text = "readers have blocked or reported the number so often that Meta may stop it (quality RED); see \
                        WhatsApp Manager";
            flaws.push(flaw("quality-red", text));
        }
        let template = match &self.settings.account {
            None => None,
            Some(account) => {
                let (stands, wrong) = self.template(account).await?;
                flaws.extend(wrong);
                Some(stands)
            }
        };
        let token = self.token_told().await?;
        let mut rights = None;
        if let Some(token) = &token {
            flaws.extend(token.flaws(self.http.now()));
            let compared = Rights::compare(token.scopes.iter().cloned(), NEEDS, BESIDE);
            flaws.extend(portrait::missing(&compared, LOST));
            rights = Some(compared);
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Identity {
            proves: crate::model::Proves::SignIn,
            name: verdict::brief(name),
            id: me["id"].as_str().map(verdict::brief),
            expires_at: token.and_then(|token| token.expires_at),
            rights,
            flaws,
            facts: portrait::facts([
                ("number", text(&me["display_phone_number"])),
                ("quality", text(&me["quality_rating"])),
                ("limit", text(&me["messaging_limit_tier"])),
                ("sending", sending.map(str::to_owned)),
                ("template", template),
            ]),
        })
    }

    /// What the service tells of our token.
    async fn token_told(&self) -> Result<Option<token::Token>, SendError> {
        let secret = self
            .secrets
            .require("access_token")
            .map_err(SendError::Credential)?;
        let mut url = self.url(&["debug_token"]);
        url.query_pairs_mut()
            .append_pair("input_token", secret.expose_secret());
        match self
            .send(self.http.request(Method::GET, url), Effect::Reads)
            .await
        {
            Ok(answer) => token::told(&answer, self.settings.account.as_deref()),
            Err(_) => Ok(None),
        }
    }

    /// How the template stands, and what is wrong with it though it is sent.
    async fn template(&self, account: &str) -> Result<(String, Option<Reason>), SendError> {
        let mut url = self.url(&[account, "message_templates"]);
        url.query_pairs_mut()
            .append_pair("fields", "name,status,category,language")
            .append_pair("name", &self.settings.template)
            .append_pair("limit", "100");
        let page = self.get(url).await?;
        let page = page["data"]
            .as_array()
            .ok_or_else(|| no_sense("no list of templates"))?;
        let ours = page.iter().find(|template| {
            template["name"] == self.settings.template && template["language"] == self.settings.language
        });
        let refused = |text: String| SendError::Refused(Reason::new("template", text));
        let (name, language) = (&self.settings.template, &self.settings.language);
        let ours = ours.ok_or_else(|| refused(format!("there is no template {name} in {language}")))?;
        let status = verdict::brief(ours["status"].as_str().unwrap_or("of unknown state"));
        if status != "APPROVED" {
            return Err(refused(format!(
                "the template {name} is {status}, and only APPROVED ones are sent"
            )));
        }
        if ours["category"] == "UTILITY" {
            return Ok(("approved".to_owned(), None));
        }
        let text = format!(
            "approved, but as {} and not as UTILITY: Meta may hold it back",
            verdict::brief(ours["category"].as_str().unwrap_or("nothing"))
        );
        let wrong = flaw("template-category", format!("the template {name} is {text}"));
        Ok((text, Some(wrong)))
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let mut url = self.url(&[&self.settings.number, "whatsapp_business_profile"]);
        url.query_pairs_mut().append_pair("fields", ABOUT);
        let answer = self.get(url).await?;
        // The specification nests what the service gives flat.
        let first = &answer["data"][0];
        let nested = &first["business_profile"];
        let about = if nested.is_object() { nested } else { first };
        let mut url = self.url(&[&self.settings.number]);
        url.query_pairs_mut()
            .append_pair("fields", "verified_name,display_phone_number");
        let me = self.get(url).await?;
        let text = |field: &str| about[field].as_str().unwrap_or_default();
        let sites = about["websites"].as_array().into_iter().flatten();
        let sites: Vec<&str> = sites.filter_map(Value::as_str).collect();
        let said = ["about", "description", "address", "email"].map(text);
        let number = me["display_phone_number"].as_str().unwrap_or_default();
        let said = || said.into_iter().chain([number]).chain(sites.iter().copied());
        Ok(Profile {
            name: verdict::brief(me["verified_name"].as_str().unwrap_or_default()),
            texts: portrait::texts(said()),
            links: portrait::links(sites.iter().copied().chain(said().flat_map(portrait::links_in))),
            picture: portrait::picture(
                &self.http,
                &self.settings.base_url,
                about["profile_picture_url"].as_str(),
            )
            .await,
            ..Profile::default()
        })
    }
}
