//! The CNI plugin: reads a request from the environment and stdin, prints the answer.

use std::io::{Read, Write};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut stdin = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut stdin) {
        eprintln!("cannot read the network configuration: {error}");
        return ExitCode::FAILURE;
    }
    let (answer, success) = kubelet::cni::run(|name| std::env::var(name).ok(), &stdin).await;
    if let Some(answer) = answer
        && let Err(error) = writeln!(std::io::stdout(), "{answer}")
    {
        eprintln!("cannot write the answer: {error}");
        return ExitCode::FAILURE;
    }
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
