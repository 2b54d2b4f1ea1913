//! Whether the public sees the page: fetched without credentials, like any resident. A cache or a slow site may show it
//! late, so that it is looked for several times within a short while.

use std::time::Duration;

use reqwest::Method;
use url::Url;

use super::Account;
use super::page::{Found, MARK};
use crate::channel::transport::{Answer, Effect};

/// Looks within [`super::WordPress::public_wait`].
const LOOKS: u32 = 4;

impl Account {
    /// Whether a resident finds the page at its address, within the time set for it.
    pub(super) async fn public(&self, found: &Found, slug: &str) -> Result<(), String> {
        let wait = self.settings.public_wait;
        if wait.is_zero() {
            return Ok(());
        }
        let link = found.link.as_ref().ok_or("the site gave no address")?;
        if !same_host(link, &self.settings.site) {
            return Err("its address is on another host than site, so it was not looked at".to_owned());
        }
        let look = async {
            let mut wrong = "no answer in time".to_owned();
            for n in 0..LOOKS {
                if n > 0 {
                    tokio::time::sleep(wait / LOOKS).await;
                }
                match self.shown(link, slug).await {
                    Ok(()) => return Ok(()),
                    Err(said) => wrong = said,
                }
            }
            Err(wrong)
        };
        let limit = wait + Duration::from_millis(100);
        let looked = tokio::time::timeout(limit, look).await;
        looked.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn shown(&self, link: &Url, slug: &str) -> Result<(), String> {
        let mut answer = self.fetch(link.clone()).await?;
        if (301..=308).contains(&answer.status) {
            // Sites redirect to the address with a slash at its end: once, and not to another host.
            let next = answer.header("location").and_then(|to| link.join(to).ok());
            let next = next.filter(|next| same_host(next, link));
            let next = next.ok_or_else(|| format!("it leads elsewhere ({})", answer.status))?;
            answer = self.fetch(next).await?;
        }
        if answer.status != 200 {
            return Err(format!("the site answered {}", answer.status));
        }
        let mark = format!("{MARK}{slug}");
        let body = answer
            .body
            .windows(mark.len())
            .any(|window| window == mark.as_bytes());
        if body {
            Ok(())
        } else {
            Err("the page does not hold our text".to_owned())
        }
    }

    async fn fetch(&self, url: Url) -> Result<Answer, String> {
        let answer = self
            .http
            .send(self.http.request(Method::GET, url), Effect::Reads)
            .await;
        answer.map_err(|error| error.reason().to_string())
    }
}

fn same_host(a: &Url, b: &Url) -> bool {
    a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default() && a.scheme() == b.scheme()
}
