//! What Vårdkase adds to the bare work, measured in the same run as the bare work. Prints; judges nothing.
//!
//! `scripts/bench [--json] [alert|deliveries|start …]`

mod alert;
mod bed;
mod endpoint;
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
        anyhow::Ok(())
    })?;
    if json {
        table::print_json(&figures);
    } else {
        table::print(&figures);
    }
    Ok(())
}
