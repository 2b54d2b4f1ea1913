//! Threads through the real wire protocol: the container tells whether a post is out, and a thread that is cut off goes on
//! where it stopped.

use std::sync::Arc;

use vardkase::model::{Picture, Post, Question, Receipt, SendError, Settled, Steps};
use vardkase::wall::{CutAt, How};

use crate::social::{LINK, Practice, TEXT, lost_answers, post, reply};

async fn practice() -> Practice {
    practice_with("").await
}

async fn practice_with(keys: &str) -> Practice {
    Practice::start(
        "threads",
        &format!("user_id = \"4711\"\nsettle_wait = \"500ms\"\n{keys}"),
    )
    .await
}

const PUBLIC: &str = "public_folder = \"/srv/bilder\"\npublic_url = \"https://nassjo.se/bilder\"";

/// A text of three posts.
fn long_post() -> Post {
    let body = "Vattnet i hela tätorten ska kokas innan det dricks eller används i mat. ".repeat(14);
    let text = format!("ÖVNING: Koka vattnet\n\n{}\n\nNässjö kommun\n{LINK}", body.trim());
    post(&text)
}

fn answer(status: u16, code: i64, subcode: i64) -> How {
    How::Answer {
        status,
        headers: Vec::new(),
        body: Some(format!(
            r#"{{"error":{{"message":"x","type":"OAuthException","code":{code},"error_subcode":{subcode},"fbtrace_id":"A"}}}}"#
        )),
    }
}

/// The smallest file that counts as a JPEG of this size.
fn picture(width: u16, height: u16) -> Arc<Picture> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xc0, 0, 17, 8];
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.extend([0xff, 0xd9]);
    Arc::new(Picture {
        bytes,
        media_type: "image/jpeg",
        width: width.into(),
        height: height.into(),
        alt: "En kastrull med kokande vatten".to_owned(),
    })
}

/// Goes on after every failure as the dispatcher does, as a daemon that was started anew each time: nothing is left of an
/// attempt but its steps. Returns the receipt, and how often it had to be asked what became of an attempt.
async fn carried_through(practice: &Practice, mut post: Post) -> (Receipt, usize) {
    let mut settled = 0;
    let mut unknown = false;
    for _ in 0..60 {
        post.steps = Steps::known(post.steps.all());
        let channel = practice.restarted();
        if unknown {
            let question = Question {
                waited: std::time::Duration::ZERO,
                astray: std::time::Duration::ZERO,
                post: post.clone(),
                until: vardkase::clock::Clock::now(&vardkase::clock::SystemClock),
                since: post.accepted_at,
                now: vardkase::clock::Clock::now(&vardkase::clock::SystemClock),
                taken: Vec::new(),
            };
            match channel.settle(&question).await {
                Ok(Settled::Found(receipt)) => return (receipt, settled + 1),
                Ok(Settled::Absent) => unknown = false,
                Ok(Settled::Refused(reason) | Settled::Unclear(reason)) => panic!("{reason}"),
                Err(_) => continue,
            }
            settled += 1;
        }
        match channel.publish(&post).await {
            Ok(receipt) => return (receipt, settled),
            Err(SendError::Unknown(_)) => unknown = true,
            Err(SendError::NotSent(_) | SendError::Busy { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it never ends");
}

#[tokio::test]
async fn what_residents_read_is_what_was_to_be_said() {
    let practice = practice().await;
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].text, TEXT);
    assert_eq!(ledger[0].links, [LINK]);
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    assert_eq!(receipt.note, None);
    let client = reqwest::Client::builder().build().unwrap();
    let page = client.get(receipt.url.unwrap()).send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), TEXT);
}

#[tokio::test]
async fn a_lost_answer_is_found_again_and_never_posted_twice() {
    for how in lost_answers() {
        let practice = practice().await;
        let post = post(TEXT);
        practice.strike_path("threads_publish", 1, how.clone());
        let err = practice.channel.publish(&post).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
        practice.assert_discreet(&err);
        let ledger = practice.ledger();
        assert_eq!(ledger.len(), 1, "{how:?}");
        let settled = practice.settle(&post).await;
        assert!(
            matches!(&settled, Settled::Found(receipt) if receipt.remote_id == ledger[0].remote_id),
            "{how:?}: {settled:?}"
        );
    }
}

#[tokio::test]
async fn a_thread_cut_anywhere_goes_on_and_repeats_no_part() {
    let practice = practice_with("long = \"thread\"").await;
    practice.channel.publish(&long_post()).await.unwrap();
    let requests = practice.requests();
    let parts: Vec<String> = practice.ledger().into_iter().map(|posted| posted.text).collect();
    assert_eq!(parts.len(), 3, "{parts:#?}");
    for number in 0..requests {
        for how in [
            How::Cut,
            How::DoneThenCut(CutAt::BeforeHeaders),
            How::DoneThenCut(CutAt::MidBody),
            How::DoneThenAnswer {
                status: 502,
                headers: Vec::new(),
                body: None,
            },
            answer(500, 2, 0),
            answer(400, 4, 0),
        ] {
            let practice = practice_with("long = \"thread\"").await;
            practice.strike_at(number, how.clone());
            let (receipt, _) = carried_through(&practice, long_post()).await;
            let ledger = practice.ledger();
            let read: Vec<&String> = ledger.iter().map(|posted| &posted.text).collect();
            assert_eq!(read, parts.iter().collect::<Vec<_>>(), "{how:?} at {number}");
            assert_eq!(receipt.remote_id, ledger[0].remote_id, "{how:?} at {number}");
            assert_eq!(ledger[0].in_reply_to, None);
            for pair in ledger.windows(2) {
                assert_eq!(
                    pair[1].in_reply_to.as_ref(),
                    Some(&pair[0].remote_id),
                    "{how:?} at {number}"
                );
            }
            practice.channel.retract(&receipt).await.unwrap();
            practice.channel.retract(&receipt).await.unwrap();
            assert!(
                practice.ledger().iter().all(|posted| posted.deleted_at.is_some()),
                "{how:?} at {number}: a part still stands"
            );
        }
    }
}

#[tokio::test]
async fn a_lost_container_is_looked_for_and_then_made_anew() {
    // Not there when its status is asked, for longer than we wait; then when it is published.
    for (path, times) in [("/17900000001", 4), ("threads_publish", 4)] {
        let practice = practice().await;
        practice.strike_path(path, times, answer(400, 24, 4_279_009));
        let (receipt, _) = carried_through(&practice, post(TEXT)).await;
        let ledger = practice.ledger();
        assert_eq!(ledger.len(), 1, "{path}");
        assert_eq!(ledger[0].remote_id, receipt.remote_id, "{path}");
    }
    // Published, the answer lost, and then the container too: the post is found by its words.
    let practice = practice().await;
    practice.strike_path("threads_publish", 1, How::DoneThenCut(CutAt::Reset));
    let post = post(TEXT);
    let err = practice.channel.publish(&post).await.unwrap_err();
    assert_eq!(err.as_str(), "unknown");
    practice.strike_path("/17900000001", 0, answer(400, 24, 4_279_009));
    let settled = practice.settle(&post).await;
    let id = practice.ledger()[0].remote_id.clone();
    assert!(
        matches!(&settled, Settled::Found(receipt) if receipt.remote_id == id),
        "{settled:?}"
    );
}

#[tokio::test]
async fn a_part_whose_container_is_lost_after_it_was_published_is_found_and_not_repeated() {
    let expired = || How::Answer {
        status: 200,
        headers: Vec::new(),
        body: Some(r#"{"id":"17900000001","status":"EXPIRED","error_message":null}"#.to_owned()),
    };
    let broken = || How::Answer {
        status: 200,
        headers: Vec::new(),
        body: Some(r#"{"id":"17900000001","status":"ERROR","error_message":"UNKNOWN"}"#.to_owned()),
    };
    for how in [answer(400, 24, 4_279_009), expired(), broken()] {
        let practice = practice_with("long = \"thread\"").await;
        practice.strike_path("threads_publish", 1, How::DoneThenCut(CutAt::Reset));
        let post = long_post();
        let err = practice.channel.publish(&post).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{how:?}");
        assert_eq!(practice.ledger().len(), 1, "{how:?}");
        practice.strike_path("/17900000001", 0, how.clone());
        let settled = practice.settle(&post).await;
        assert_eq!(settled, Settled::Absent, "{how:?}: the other parts are to come");
        let (receipt, _) = carried_through(&practice, post).await;
        let ledger = practice.ledger();
        assert_eq!(ledger.len(), 3, "{how:?}: {ledger:#?}");
        assert_eq!(receipt.remote_id, ledger[0].remote_id, "{how:?}");
        assert_eq!(ledger[1].in_reply_to.as_ref(), Some(&ledger[0].remote_id));
    }
}

#[tokio::test]
async fn a_post_under_one_that_is_known_by_its_container_only_is_found_among_the_posts() {
    let practice = practice().await;
    let nameless = Receipt::of("container:17900000000");
    let update = reply("Nytt. https://nassjo.se/kris", &nameless);
    practice.strike_path("threads_publish", 1, How::DoneThenCut(CutAt::BeforeHeaders));
    let err = practice.channel.publish(&update).await.unwrap_err();
    assert_eq!(err.as_str(), "unknown");
    practice.strike_path("/17900000001", 0, answer(400, 24, 4_279_009));
    let settled = practice.settle(&update).await;
    let ledger = practice.ledger();
    assert_eq!(ledger[0].in_reply_to, None);
    assert!(
        matches!(&settled, Settled::Found(receipt) if receipt.remote_id == ledger[0].remote_id),
        "{settled:?}"
    );
}

#[tokio::test]
async fn what_was_left_out_is_said_also_when_the_answer_was_lost() {
    let practice = practice_with(PUBLIC).await;
    practice.strike_path("threads_publish", 1, How::DoneThenCut(CutAt::Reset));
    let mut post = post(TEXT);
    post.picture = Some(picture(1080, 90));
    let (receipt, settled) = carried_through(&practice, post).await;
    assert_eq!(settled, 1);
    assert!(receipt.note.unwrap().contains("without its picture"));
}

#[tokio::test]
async fn a_block_that_was_none_is_no_failure() {
    let practice = practice().await;
    let blocked = |done: bool| {
        let body = r#"{"error":{"message":"action is blocked","code":4,"error_subcode":2207051}}"#.to_owned();
        if done {
            How::DoneThenAnswer {
                status: 403,
                headers: Vec::new(),
                body: Some(body),
            }
        } else {
            How::Answer {
                status: 403,
                headers: Vec::new(),
                body: Some(body),
            }
        }
    };
    practice.strike_path("threads_publish", 1, blocked(true));
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    assert_eq!(practice.ledger()[0].remote_id, receipt.remote_id);
    practice.strike_path("threads_publish", 1, blocked(false));
    let err = practice
        .channel
        .publish(&post("Annat. https://nassjo.se/kris"))
        .await
        .unwrap_err();
    assert!(
        matches!(&err, SendError::Refused(reason) if reason.code == "graph-4-2207051"),
        "{err}"
    );
    assert_eq!(practice.ledger().len(), 1);
}

#[tokio::test]
async fn a_picture_stands_in_the_post_with_its_words() {
    let practice = practice_with(PUBLIC).await;
    let mut post = post(TEXT);
    post.picture = Some(picture(1080, 1350));
    let receipt = practice.channel.publish(&post).await.unwrap();
    assert_eq!(receipt.note, None);
    let ledger = practice.ledger();
    assert_eq!(ledger[0].pictures[0].alt, "En kastrull med kokande vatten");
    assert_eq!(ledger[0].pictures[0].media_type, "image/jpeg");
    assert_eq!(ledger[0].text, TEXT);
}

#[tokio::test]
async fn a_picture_that_does_not_go_in_costs_the_picture_and_not_the_post() {
    // Not fetched, three times; refused for its shape.
    for (times, how, size) in [
        (3, Some(answer(400, 9004, 2_207_052)), (1080, 1350)),
        (0, None, (1080, 90)),
    ] {
        let practice = practice_with(PUBLIC).await;
        if let Some(how) = how {
            practice.strike_path("/me/threads", times, how);
        }
        let mut post = post(TEXT);
        post.picture = Some(picture(size.0, size.1));
        let (receipt, _) = carried_through(&practice, post).await;
        assert!(receipt.note.unwrap().contains("without its picture"));
        let ledger = practice.ledger();
        assert_eq!(ledger.len(), 1);
        assert!(ledger[0].pictures.is_empty());
        assert_eq!(ledger[0].text, TEXT);
    }
}

#[tokio::test]
async fn an_update_stands_under_the_first_post_or_alone_if_that_is_gone() {
    let practice = practice().await;
    let first = practice.channel.publish(&post(TEXT)).await.unwrap();
    let update = practice
        .channel
        .publish(&reply("Nytt. https://nassjo.se/kris", &first))
        .await
        .unwrap();
    assert_eq!(practice.ledger()[1].in_reply_to.as_ref(), Some(&first.remote_id));
    assert_eq!(update.note, None);
    practice.channel.retract(&first).await.unwrap();
    let alone = practice
        .channel
        .publish(&reply("Faran är över. https://nassjo.se/kris", &first))
        .await
        .unwrap();
    assert!(alone.note.unwrap().contains("stands alone"));
    assert_eq!(practice.ledger()[2].in_reply_to, None);
}

#[tokio::test]
async fn a_lost_answer_to_an_update_is_found_among_the_answers() {
    let practice = practice().await;
    let first = practice.channel.publish(&post(TEXT)).await.unwrap();
    let update = reply("Nytt. https://nassjo.se/kris", &first);
    practice.strike_path("threads_publish", 1, How::DoneThenCut(CutAt::BeforeHeaders));
    assert_eq!(
        practice.channel.publish(&update).await.unwrap_err().as_str(),
        "unknown"
    );
    let settled = practice.settle(&update).await;
    let id = practice.ledger()[1].remote_id.clone();
    assert!(
        matches!(&settled, Settled::Found(receipt) if receipt.remote_id == id),
        "{settled:?}"
    );
}

#[tokio::test]
async fn a_dead_token_is_told_and_verifying_shows_what_is_left() {
    let practice = practice().await;
    let stranger = practice.with_secret("access_token", "hemlig-men-fel");
    let err = stranger.publish(&post(TEXT)).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Credential(reason) if reason.code == "graph-190-467"),
        "{err}"
    );
    assert!(!format!("{err:?} {stranger:?}").contains("hemlig-men-fel"));
    practice.channel.publish(&post(TEXT)).await.unwrap();
    let identity = practice.channel.verify().await.unwrap();
    assert_eq!(identity.name, "nassjokommun");
    assert_eq!(identity.facts["posts_left"], "249");
    assert_eq!(identity.facts["replies_left"], "1000");
    assert_eq!(identity.facts["token_days_left"], "59");
}
