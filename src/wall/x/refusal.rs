//! What the service says no with.

use serde_json::{Value, json};

/// What the service says no with.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) title: &'static str,
    pub(super) kind: &'static str,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self {
            status: 400,
            title: "Invalid Request",
            kind: "invalid-request",
            detail: detail.into(),
        }
    }

    pub(super) fn forbidden(detail: &str) -> Self {
        Self {
            status: 403,
            title: "Forbidden",
            kind: "",
            detail: detail.to_owned(),
        }
    }

    pub(super) fn missing(id: &str) -> Self {
        let detail = format!("Could not find tweet with id: [{id}].");
        Self {
            status: 404,
            title: "Not Found Error",
            kind: "resource-not-found",
            detail,
        }
    }

    pub(super) fn unauthorized() -> Self {
        Self {
            status: 401,
            title: "Unauthorized",
            kind: "",
            detail: "Unauthorized".to_owned(),
        }
    }

    pub(super) fn body(&self) -> Value {
        let kind = match self.kind {
            "" => "about:blank".to_owned(),
            kind => format!("https://api.x.com/2/problems/{kind}"),
        };
        let mut body =
            json!({"title": self.title, "detail": self.detail, "type": kind, "status": self.status});
        if self.kind == "invalid-request" {
            body["errors"] = json!([{"message": self.detail}]);
        }
        body
    }
}
