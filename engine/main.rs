//! The binary: arguments in, exit code out.

use std::io::Write;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let args: Vec<String> = std::env::args().collect();
    let backtest = sightline::cli::backtest::Backtest {
        rules: vec![args[1].clone().into()],
        events: args[2..].to_vec(),
        settings: Default::default(),
        partitions: std::env::var("P").map_or(1, |p| p.parse().unwrap_or(1)),
        batch: 1000,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let summary =
        runtime.block_on(sightline::cli::backtest::run(&backtest, &mut out, &mut std::io::stderr()))?;
    out.flush()?;
    eprintln!("{summary:?}");
    Ok(())
}
