//! placeholder
#[derive(Debug, clap::Args)]
pub struct Args {}
/// x
pub async fn run(_: &Args) -> super::Outcome {
    Ok(super::Exit::Ok)
}
