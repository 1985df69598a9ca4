//! The `socku-console` program: CGI/1.1, one process per request.

use socku::internals::console::{Environment, serve};
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let environment = Environment::read(|name| std::env::var_os(name));
    // An error is a browser that has left; returning ends the sessions that are still running.
    let _ = serve(&environment, &mut io::stdout().lock());
    ExitCode::SUCCESS
}
