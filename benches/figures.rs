//! What Vårdkase adds to the bare work, measured in the same run as the bare work. Prints, and fails if memory grows with
//! the list.
//!
//! `scripts/bench [--json] [--million] [--sizes=10000,100000] [alert|deliveries|recipients|start …]`

mod alert;
mod bed;
mod endpoint;
mod recipients;
mod start;
mod table;
mod throughput;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    // `cargo bench` adds arguments of its own, all of them options.
    let named: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if arguments.iter().any(|argument| argument == endpoint::ARGUMENT) {
        return endpoint::serve();
    }
    let sizes = sizes(&arguments)?;
    let wanted = |name: &str| named.is_empty() || named.contains(&name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut figures = Vec::new();
    runtime.block_on(async {
        if wanted("alert") {
            figures.extend(Box::pin(alert::measure(7)).await?);
        }
        if wanted("deliveries") {
            figures.extend(throughput::measure(3).await?);
        }
        if wanted("start") {
            figures.extend(start::measure(5).await?);
        }
        if wanted("recipients") {
            figures.extend(Box::pin(recipients::measure(&sizes)).await?);
        }
        anyhow::Ok(())
    })?;
    if json {
        table::print_json(&figures);
    } else {
        table::print(&figures);
    }
    let beyond: Vec<_> = figures.iter().filter_map(table::Figure::beyond).collect();
    anyhow::ensure!(beyond.is_empty(), "{}", beyond.join("; "));
    Ok(())
}

/// How many recipients the lists have: what `--sizes=` says, or 10,000 and 100,000, with `--million` a million as well.
fn sizes(arguments: &[String]) -> anyhow::Result<Vec<usize>> {
    let given = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("--sizes="));
    let mut sizes: Vec<usize> = match given {
        Some(given) => given.split(',').map(str::parse).collect::<Result<_, _>>()?,
        None => vec![10_000, 100_000],
    };
    if arguments.iter().any(|argument| argument == "--million") {
        sizes.push(1_000_000);
    }
    Ok(sizes)
}
