//! Writes answers byte by byte on the bare socket, so that they can be wrong in ways that no HTTP library writes.

use std::io::{self, Write as _};
use std::time::Duration;

use http::Response;
use tokio::net::TcpStream;

use super::{CutAt, How};

/// How much is written at once of what is huge.
const CHUNK: usize = 64 * 1024;

/// Writes `answer` as `how` says. The caller closes the connection afterwards, whatever comes back.
pub(super) async fn write(stream: &TcpStream, how: &How, answer: &Response<Vec<u8>>) -> io::Result<()> {
    match how {
        How::DoneThenCut(at) => cut(stream, *at, answer).await,
        How::DoneThenHang | How::Hang => std::future::pending().await,
        How::Trickle => trickle(stream, &whole(answer)).await,
        How::Huge(bytes) => huge(stream, answer, *bytes).await,
        How::Bomb(bytes) => bomb(stream, answer, *bytes).await,
        How::ManyHeaders(count) => many_headers(stream, answer, *count).await,
        How::DoneThenBytes(bytes) => {
            let mut text = head(answer, bytes.len());
            text.extend_from_slice(bytes);
            send(stream, &text).await
        }
        // Cut is done by closing; the others are answers that hyper writes.
        How::Cut | How::Answer { .. } | How::DoneThenAnswer { .. } | How::Delay(_) => Ok(()),
    }
}

async fn cut(stream: &TcpStream, at: CutAt, answer: &Response<Vec<u8>>) -> io::Result<()> {
    let body = answer.body();
    match at {
        CutAt::BeforeHeaders => Ok(()),
        CutAt::Reset => stream.set_zero_linger(),
        CutAt::MidHeaders => {
            let head = head(answer, body.len());
            send(stream, head.get(..head.len() / 2).unwrap_or_default()).await
        }
        CutAt::MidBody => {
            let mut text = head(answer, body.len().max(2));
            text.extend_from_slice(body.get(..body.len() / 2).unwrap_or_default());
            send(stream, &text).await
        }
        CutAt::TruncatedJson => {
            let half = body.get(..body.len() / 2).unwrap_or_default();
            let mut text = head(answer, half.len());
            text.extend_from_slice(half);
            send(stream, &text).await
        }
    }
}

/// Cuts a reply that has neither headers nor body at the nearest thing.
pub(super) async fn cut_bytes(stream: &TcpStream, at: CutAt, text: &[u8]) -> io::Result<()> {
    match at {
        CutAt::BeforeHeaders => Ok(()),
        CutAt::Reset => stream.set_zero_linger(),
        CutAt::MidHeaders => send(stream, text.get(..2).unwrap_or_default()).await,
        CutAt::MidBody => send(stream, text.get(..text.len() / 2).unwrap_or_default()).await,
        CutAt::TruncatedJson => send(stream, text.strip_suffix(b"\r\n").unwrap_or(text)).await,
    }
}

async fn huge(stream: &TcpStream, answer: &Response<Vec<u8>>, bytes: u64) -> io::Result<()> {
    send(
        stream,
        &head(answer, usize::try_from(bytes).unwrap_or(usize::MAX)),
    )
    .await?;
    let chunk = vec![b' '; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        send(stream, chunk.get(..now).unwrap_or_default()).await?;
        left -= now as u64;
    }
    Ok(())
}

async fn bomb(stream: &TcpStream, answer: &Response<Vec<u8>>, bytes: u64) -> io::Result<()> {
    // No length: the end of the connection ends the body.
    let mut text = lines(answer);
    text.extend_from_slice(b"content-encoding: gzip\r\nconnection: close\r\n\r\n");
    send(stream, &text).await?;
    let zeros = vec![0; CHUNK];
    let mut left = bytes;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        packer.write_all(zeros.get(..now).unwrap_or_default())?;
        left -= now as u64;
        let chunk = std::mem::take(packer.get_mut());
        send(stream, &chunk).await?;
        tokio::task::yield_now().await;
    }
    send(stream, &packer.finish()?).await
}

async fn many_headers(stream: &TcpStream, answer: &Response<Vec<u8>>, count: u32) -> io::Result<()> {
    send(stream, &lines(answer)).await?;
    let mut text = Vec::with_capacity(CHUNK);
    for n in 0..count {
        write!(text, "x-filler-{n}: {n}\r\n")?;
        if text.len() >= CHUNK - 64 {
            send(stream, &text).await?;
            text.clear();
        }
    }
    write!(
        text,
        "content-length: {}\r\nconnection: close\r\n\r\n",
        answer.body().len()
    )?;
    text.extend_from_slice(answer.body());
    send(stream, &text).await
}

/// One byte a second.
pub(super) async fn trickle(stream: &TcpStream, text: &[u8]) -> io::Result<()> {
    for byte in text {
        send(stream, std::slice::from_ref(byte)).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Writes all of `bytes`.
pub(super) async fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The status line and the answer's own headers.
fn lines(answer: &Response<Vec<u8>>) -> Vec<u8> {
    let status = answer.status();
    let mut text = format!(
        "HTTP/1.1 {} {}\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Other")
    )
    .into_bytes();
    for (name, value) in answer.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text
}

fn head(answer: &Response<Vec<u8>>, length: usize) -> Vec<u8> {
    let mut text = lines(answer);
    text.extend_from_slice(format!("content-length: {length}\r\nconnection: close\r\n\r\n").as_bytes());
    text
}

fn whole(answer: &Response<Vec<u8>>) -> Vec<u8> {
    let mut text = head(answer, answer.body().len());
    text.extend_from_slice(answer.body());
    text
}
