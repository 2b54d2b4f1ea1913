//! A person posts by hand: for outlets that no program may or can write to (a notice board, a radio studio, a siren).
//!
//! Nothing is ever sent. A delivery is born `manual`, and the person reports it done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Capabilities, Channel, Identity, Kind, Pace, Parts, Settings, WallSite};
use crate::compose::TextRule;
use crate::model::{Post, Proof, Question, Reason, Receipt, SendError, Settled, Unit};

/// A person posts by hand.
pub static KIND: Kind = Kind {
    id: "manual",
    about: "A person posts by hand",
    can: Capabilities {
        proof: Proof::Unproven,
        thread: false,
        edit: false,
        retract: false,
        pin: false,
        picture: false,
        link_card: false,
        recipients: false,
        by_hand: true,
        profile: false,
        backstage: false,
    },
    secrets: &[],
    pace: Pace {
        attempts: 60,
        per: Duration::from_mins(1),
        burst: 5,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read: |section| {
        let instructions: Option<String> = section.required(
            "instructions",
            "what the person has to do, such as \"Ring vakthavande på P4 Jönköping, 036-15 00 00\"",
        );
        let instructions = instructions?;
        if instructions.trim().is_empty() {
            section.problem(
                "instructions",
                "is empty: say what the person has to do, and where",
            );
            return None;
        }
        Some(Box::new(Manual { instructions }))
    },
};

/// The account, and its adapter: there is nothing more to open.
#[derive(Debug, Clone)]
struct Manual {
    instructions: String,
}

impl Settings for Manual {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: None,
            unit: Unit::Characters,
            also: None,
        }
    }

    fn at_wall(&self, _site: &WallSite) -> Box<dyn Settings> {
        Box::new(self.clone())
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn instructions(&self) -> Option<&str> {
        Some(&self.instructions)
    }

    fn open(&self, _parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Channel for Manual {
    async fn publish(&self, _post: &Post) -> Result<Receipt, SendError> {
        Err(SendError::Refused(Reason::new(
            "by-hand",
            format!("a person posts this by hand: {}", self.instructions),
        )))
    }

    async fn settle(&self, _question: &Question) -> Result<Settled, SendError> {
        Ok(Settled::Unclear(Reason::new(
            "by-hand",
            "only the person who was to post it can tell",
        )))
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        Ok(Identity {
            name: "by hand".to_owned(),
            facts: BTreeMap::from([("instructions".to_owned(), self.instructions.clone())]),
            ..Identity::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::testing;

    #[tokio::test]
    async fn a_manual_account_never_sends_and_always_says_what_to_do() {
        let account = Manual {
            instructions: "Ring P4".to_owned(),
        };
        assert_eq!(account.instructions(), Some("Ring P4"));
        assert_eq!(account.text_rule().limit, None);
        let post = testing::post("Koka vattnet. https://nassjo.se/kris");
        let refused = account.publish(&post).await.unwrap_err();
        assert!(
            matches!(&refused, SendError::Refused(r) if r.code == "by-hand" && r.text.contains("Ring P4"))
        );
        let settled = account.settle(&testing::question(post)).await.unwrap();
        assert!(matches!(settled, Settled::Unclear(_)));
        assert_eq!(account.verify().await.unwrap().facts["instructions"], "Ring P4");
    }
}
