//! (a) One alert to 60 webhook accounts that each take 150 ms, from rest: no connection open, no lane running.

use std::time::Instant;

use vardkase::dispatch::Dispatcher;

use crate::bed::{self, Hooks};
use crate::endpoint::{self, Endpoint};
use crate::table::{Figure, median, seconds_to_millis};

const ACCOUNTS: usize = 60;
const ANSWERS_AFTER: u64 = 150;

pub async fn measure(runs: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut posts, mut outcomes, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let dir = bed::folder()?;
        let mut endpoint = Endpoint::start()?;
        let url = bed::slow(&endpoint, ANSWERS_AFTER);
        let hooks = Hooks::open(dir.path(), ACCOUNTS, &url)?;
        let store = bed::store(dir.path()).await?;
        let mut changes = store.subscribe();
        let dispatcher = Dispatcher::start(
            store.clone(),
            Hooks::clone_as_accounts(&hooks),
            bed::clock(),
            "figures".to_owned(),
            false,
        )
        .await?;
        let alert = bed::alert(&hooks.lanes())?;

        let (began, at) = (Instant::now(), endpoint::now());
        let accepted = store.accept(alert).await?;
        dispatcher.wake(&accepted.lanes);
        bed::published(&mut changes, ACCOUNTS).await?;
        outcomes.push(seconds_to_millis(began.elapsed()));
        let answered = endpoint.answered()?;
        posts.push(seconds_to_millis(answered.latest.duration_since(at)?));
        anyhow::ensure!(
            answered.posts == ACCOUNTS as u64,
            "not every account was posted to once"
        );

        // The same requests again, from a client that has no connection either.
        let twin = store.accept(bed::alert(&hooks.lanes())?).await?;
        let mut shots = Vec::new();
        for lane in &twin.lanes {
            shots.push(bed::shots(&store, lane, 1).await?);
        }
        let at = endpoint::now();
        bed::fire(shots, &url).await?;
        floors.push(seconds_to_millis(endpoint.answered()?.latest.duration_since(at)?));
        dispatcher.stop(bed::PATIENCE).await;
        store.close().await;
    }
    let floor = median(&mut floors);
    Ok(vec![
        Figure::against(
            "alert_last_post",
            "command to last post, 60 webhooks of 150 ms",
            median(&mut posts),
            "ms",
            floor,
        ),
        Figure::against(
            "alert_last_outcome",
            "command to last outcome on disk",
            median(&mut outcomes),
            "ms",
            floor,
        ),
    ])
}
