//! Load for SOCKS proxies and plain relays, and their targets, in one thread.
//!
//! Clients and targets share one epoll loop, so that the core they run on does little besides
//! the kernel's work: bulk bytes are sent with sendfile(2) and received with `MSG_TRUNC`, neither
//! of which copies them. Every run is bounded by `--seconds` or `--count`, and by `--deadline`.

mod client;
mod engine;
mod histogram;
mod net;
mod options;
mod process;
mod pump;
mod report;
mod scenario;
mod socks;
mod target;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{}", options::usage());
        return ExitCode::SUCCESS;
    }
    let options = match options::parse(&arguments) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    raise_descriptor_limit();
    match scenario::run(&options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Both ends of every session are in this process.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Refused at worst; opening then says which limit was hit.
    let _ = setrlimit(Resource::Nofile, raised);
}
