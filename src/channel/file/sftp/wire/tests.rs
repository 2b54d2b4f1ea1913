//! The dialogue against a server of a few lines: what a real one would never do.

use super::*;

/// A packet.
fn packet(kind: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let body: Vec<u8> = parts.concat();
    let mut out = number(u32::try_from(body.len() + 1).unwrap());
    out.push(kind);
    out.extend(body);
    out
}

fn greeting(extensions: &[&str]) -> Vec<u8> {
    let mut parts = vec![number(3)];
    for name in extensions {
        parts.extend([text(name), text("1")]);
    }
    packet(kind::VERSION, &parts)
}

fn status(id: u32, status: u32) -> Vec<u8> {
    packet(
        kind::STATUS,
        &[number(id), number(status), text("nej"), text("sv")],
    )
}

/// A dialogue with a server that says this whatever it is asked, and then hangs up.
async fn told(answers: &[Vec<u8>]) -> Result<Dialogue<tokio::io::DuplexStream>, Fault> {
    let (ours, mut theirs) = tokio::io::duplex(1024 * 1024);
    theirs.write_all(&answers.concat()).await.unwrap();
    tokio::spawn(async move {
        theirs.shutdown().await.ok();
        let mut asked = Vec::new();
        theirs.read_to_end(&mut asked).await.ok();
    });
    Dialogue::open(ours).await
}

#[tokio::test]
async fn only_version_three_and_its_extensions_are_taken() {
    let full = told(&[greeting(&[RENAME, FSYNC])]).await.unwrap();
    assert!(full.replaces() && full.has(FSYNC));
    let plain = told(&[greeting(&[])]).await.unwrap();
    assert!(!plain.replaces());
    let other = packet(kind::VERSION, &[number(3), text(RENAME), text("2")]);
    assert!(
        !told(&[other]).await.unwrap().replaces(),
        "another version of it is another thing"
    );
    for wrong in [
        packet(kind::VERSION, &[number(2)]),
        packet(kind::VERSION, &[]),
        status(0, 0),
        b"SSH-2.0-x\r\n".to_vec(),
        b"This service is for staff only.\r\n".to_vec(),
        number(0),
        number(u32::MAX),
        Vec::new(),
    ] {
        assert!(matches!(told(&[wrong]).await, Err(Fault::Cut(_))));
    }
}

#[tokio::test]
async fn an_answer_to_something_else_ends_the_dialogue() {
    for wrong in [
        status(7, 0),
        packet(kind::STATUS, &[]),
        packet(kind::STATUS, &[number(1)]),
        packet(kind::HANDLE, &[number(1), text("h")]),
        packet(99, &[number(1)]),
        Vec::new(),
    ] {
        let mut dialogue = told(&[greeting(&[]), wrong]).await.unwrap();
        assert!(matches!(dialogue.remove("/a").await, Err(Fault::Cut(_))));
    }
}

#[tokio::test]
async fn a_status_is_told_and_nothing_there_to_remove_is_done() {
    for (code, expected) in [
        (0, Ok(())),
        (2, Ok(())),
        (3, Err(Fault::Status(3))),
        (4, Err(Fault::Status(4))),
        (99, Err(Fault::Status(99))),
    ] {
        let mut dialogue = told(&[greeting(&[]), status(1, code)]).await.unwrap();
        assert_eq!(dialogue.remove("/a").await, expected, "{code}");
    }
}

#[tokio::test]
async fn no_more_is_read_of_a_file_than_the_cap_and_no_link_is_followed() {
    let regular = packet(
        kind::ATTRS,
        &[number(1), number(0x05), number(0), number(9), number(0o100_644)],
    );
    let handle = packet(kind::HANDLE, &[number(2), text("h")]);
    let data = |id| packet(kind::DATA, &[number(id), text("abcdef")]);
    let answers = [
        greeting(&[]),
        regular.clone(),
        handle.clone(),
        data(3),
        data(4),
        status(5, 0),
    ];
    let read = told(&answers).await.unwrap().read("/a", 8).await;
    assert_eq!(read, Ok(Some(b"abcdefab".to_vec())));
    let empty = packet(kind::DATA, &[number(3), text("")]);
    let endless = [greeting(&[]), regular, handle, empty];
    let read = told(&endless).await.unwrap().read("/a", 8).await;
    assert!(
        matches!(read, Err(Fault::Cut(_))),
        "a server that reads nothing for ever is not asked for ever"
    );
    let link = packet(kind::ATTRS, &[number(1), number(0x04), number(0o120_777)]);
    let read = told(&[greeting(&[]), link]).await.unwrap().read("/a", 8).await;
    assert_eq!(read, Ok(None));
    let read = told(&[greeting(&[]), status(1, 2)])
        .await
        .unwrap()
        .read("/a", 8)
        .await;
    assert_eq!(read, Ok(None));
}
