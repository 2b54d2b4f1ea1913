//! A question on the terminal. Nothing happens without a clear yes: end of input and Ctrl-C mean no.

use std::io::{IsTerminal, Write};

use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody sits at standard input.
pub fn is_anyone_there() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks, and gives the line that was typed; `None` if nothing was: end of input, or Ctrl-C.
pub async fn ask(question: &str) -> Option<String> {
    // Heard before the question is asked: whoever answers it at once with Ctrl-C is told that nothing was sent.
    let mut interrupt = signal(SignalKind::interrupt()).ok()?;
    eprint!("{question}");
    std::io::stderr().flush().ok()?;
    let (typed, answer) = tokio::sync::oneshot::channel();
    // A thread of its own, that nobody waits for: reading a terminal cannot be called off.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        let line = read.is_ok_and(|bytes| bytes > 0).then(|| line.trim().to_owned());
        // Nobody waits any more after Ctrl-C.
        typed.send(line).ok();
    });
    let answer = tokio::select! {
        line = answer => line.ok().flatten(),
        _ = interrupt.recv() => None,
    };
    if answer.is_none() {
        eprintln!();
    }
    // From here on Ctrl-C ends the command again, as it does where nothing is asked.
    #[allow(
        clippy::disallowed_methods,
        reason = "it ends with the process, which is what it is there for"
    )]
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    answer
}
