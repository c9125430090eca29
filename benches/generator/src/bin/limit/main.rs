//! The limit: a CAMP server that does nothing but the least for each kind of load, on one thread, with
//! one read and one write per wake-up. No limits, no heartbeats, no checks: not a server to use.

mod plain;
mod session;
mod tls;

use std::process::ExitCode;

use pico_args::Arguments;

/// As the servers in JavaScript take them.
#[derive(Clone)]
pub struct Options {
    pub mode: String,
    pub size: usize,
    pub window: usize,
    pub file: String,
    pub bytes: u64,
}

fn main() -> ExitCode {
    match run(Arguments::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Arguments) -> Result<(), String> {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let text = |error: pico_args::Error| error.to_string();
    let options = Options {
        mode: args.opt_value_from_str("--mode").map_err(text)?.unwrap_or_else(|| "echo".into()),
        size: args.opt_value_from_str("--size").map_err(text)?.unwrap_or(16),
        window: args.opt_value_from_str("--window").map_err(text)?.unwrap_or(32),
        file: args.opt_value_from_str("--file").map_err(text)?.unwrap_or_default(),
        bytes: args.opt_value_from_str("--bytes").map_err(text)?.unwrap_or(1 << 30),
    };
    let key: Option<String> = args.opt_value_from_str("--tls-key").map_err(text)?;
    let cert: Option<String> = args.opt_value_from_str("--tls-cert").map_err(text)?;
    match key.zip(cert) {
        Some((key, cert)) => tls::serve(&options, &key, &cert),
        None => plain::serve(&options).map_err(|error| error.to_string()),
    }
}
