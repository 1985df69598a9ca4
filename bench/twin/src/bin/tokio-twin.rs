//! The twin on tokio's current_thread runtime: the one that all ratios refer to.

use std::process::ExitCode;

fn main() -> ExitCode {
    let address = match tokio_twin::listen_address() {
        Ok(address) => address,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(tokio_twin::serve(address))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("--listen {address}: {error}");
            ExitCode::FAILURE
        }
    }
}
