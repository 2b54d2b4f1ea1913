//! What recurs of the register, with the time given: a year of publishing and looking passes in seconds.

use std::sync::Arc;

use vardkase::app::App;
use vardkase::app::register::Outcome;
use vardkase::clock::{Clock, TestClock};

use crate::support::{Account, Plan, World};

/// An application whose clock stands until it is moved.
struct Still {
    world: World,
    clock: Arc<TestClock>,
    app: Arc<App>,
}

impl Still {
    fn open(register: &str) -> futures::future::BoxFuture<'_, Self> {
        // Boxed once here: what opens everything is too large for its callers' frames.
        Box::pin(Self::opened(register))
    }

    async fn opened(register: &str) -> Self {
        let plan = Plan::of(vec![
            Account::new("skarmar", "file").with("url = \"https://nassjo.se/skarmar\""),
        ]);
        let world = World::open(plan).await;
        let text = std::fs::read_to_string(&world.config).unwrap();
        std::fs::write(
            &world.config,
            text.replacen("[vault]", &format!("{register}\n[vault]"), 1),
        )
        .unwrap();
        let clock = Arc::new(TestClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
        let app = world.app(&clock, &world.practice(&clock).await).await;
        Self { world, clock, app }
    }

    async fn records(&self, kind: &str) -> usize {
        let all = self.app.journal(0, 1000, None).await.unwrap();
        all.iter().filter(|record| record.kind == kind).count()
    }

    fn pass(&self, hours: i64) {
        self.clock.advance(jiff::SignedDuration::from_hours(hours));
    }

    fn page(&self) -> std::path::PathBuf {
        self.world
            .simulated("skarmar")
            .site
            .folder
            .join("skarmar/konton.html")
    }
}

#[tokio::test]
async fn a_year_of_a_list_that_does_not_change_is_published_once() {
    let still = Still::open("[register]\npublish_to = [\"skarmar\"]\npublish_every = \"1d\"\n").await;
    for _ in 0..365 * 2 {
        still.app.keep_register().await.unwrap();
        still.pass(12);
    }
    assert_eq!(still.records("register-publish").await, 1);
    let view = still.app.register().await.unwrap();
    assert_eq!(view.publications[0].outcome, Outcome::Unchanged);
    // Seen to stand every day, and no further from now than that.
    let since = still
        .clock
        .now()
        .duration_since(view.publications[0].mark.done_at.unwrap());
    assert!(since.as_hours() <= 24, "{since:?}");
    assert!(
        std::fs::read_to_string(still.page())
            .unwrap()
            .contains("konto-skarmar")
    );
}

#[tokio::test]
async fn what_could_not_be_published_is_tried_again_before_the_day_is_over() {
    let still = Still::open("[register]\npublish_to = [\"skarmar\"]\npublish_every = \"1d\"\n").await;
    let folder = still.page().parent().unwrap().to_owned();
    let away = folder.with_extension("away");
    std::fs::rename(&folder, &away).unwrap();
    still.app.keep_register().await.unwrap();
    still.app.keep_register().await.unwrap();
    assert_eq!(still.records("register-publish").await, 1, "not at once");
    let view = still.app.register().await.unwrap();
    assert_eq!(view.publications[0].outcome, Outcome::Failed);
    assert!(view.findings.iter().any(|finding| finding.check == "publish"));
    std::fs::rename(&away, &folder).unwrap();
    still.pass(1);
    still.app.keep_register().await.unwrap();
    assert_eq!(
        still.app.register().await.unwrap().publications[0].outcome,
        Outcome::Published
    );
    assert!(still.page().exists());
}

#[tokio::test]
async fn the_public_page_is_looked_at_once_a_day_and_the_result_stands_in_status() {
    // Nobody answers there: what failed is tried again a quarter of an hour later.
    let still = Still::open("[register]\npage = \"http://127.0.0.1:9/konton\"\n").await;
    for _ in 0..3 {
        still.app.keep_register().await.unwrap();
    }
    assert_eq!(still.records("register-check").await, 1);
    let status = still.app.status().await.unwrap().register;
    assert_eq!((status.drift, status.checked_at), (None, Some(still.clock.now())));
    let view = still.app.register().await.unwrap();
    assert!(
        view.findings.iter().any(|finding| finding.check == "page"),
        "{view:?}"
    );
    still.pass(1);
    still.app.keep_register().await.unwrap();
    assert_eq!(still.records("register-check").await, 2);
}

#[tokio::test]
async fn nothing_is_done_that_nobody_asked_for() {
    let still = Still::open("[register]\npublish_to = [\"skarmar\"]\n").await;
    still.pass(24 * 400);
    still.app.keep_register().await.unwrap();
    assert_eq!(
        (
            still.records("register-publish").await,
            still.records("register-check").await
        ),
        (0, 0)
    );
    assert!(!still.page().exists());
}
