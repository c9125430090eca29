//! The load generator: drives one server with one kind of load from one thread, checks every answer,
//! and prints the figures as one line of JSON.

mod driver;
mod loads;
mod measure;
mod pieces;
mod processes;
mod session;
mod socket;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use pico_args::Arguments;
use serde_json::{Map, Value};

use driver::Driver;

const HELP: &str = "camp-bench-generator LOAD --port PORT [OPTION...]
camp-bench-generator run [--core N] PROGRAM [ARGUMENT...]   becomes the program, with many files, on that core alone

loads:    echo push fanout stream upload idle connect
options:  --conns N --window N --size BYTES --kind text|mixed|binary --rate N (messages a second, open loop)
          --bytes N (of a stream) --warmup S --seconds S --settle S --probe N (echoes a second while idle)
          --tls  --raw (WebSocket without CAMP)  --spin (never sleep)  --core N  --pid N (of the server)";

/// Files that are asked for: the most sessions of any case, and some.
const FILES: u64 = 65_536;
/// Files that are open beside those of the sessions.
const SPARE_FILES: u64 = 100;

/// What a load is told.
pub struct Options {
    pub pid: Option<u32>,
    pub conns: usize,
    pub window: usize,
    pub size: usize,
    pub kind: String,
    pub rate: f64,
    pub bytes: u64,
    pub warmup: Duration,
    pub seconds: Duration,
    pub settle: Duration,
    pub probe: f64,
    pub raw: bool,
    pub spin: bool,
}

type Figures = Map<String, Value>;

fn main() -> ExitCode {
    match run(Arguments::from_env()) {
        Ok(figures) => {
            println!("{}", Value::Object(figures));
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Arguments) -> Result<Figures, String> {
    let load = args.subcommand().map_err(text)?.ok_or(HELP)?;
    if let Some(core) = args.opt_value_from_str::<_, usize>("--core").map_err(text)? {
        pin(core);
    }
    if load == "run" {
        raise_files();
        return become_program(args);
    }
    let seconds = |args: &mut Arguments, name: &'static str, default: f64| {
        args.opt_value_from_str::<_, f64>(name).map(|value| Duration::from_secs_f64(value.unwrap_or(default)))
    };
    let port: u16 = args.value_from_str("--port").map_err(text)?;
    let tls = args.contains("--tls").then(socket::tls_config).transpose()?;
    let options = Options {
        pid: args.opt_value_from_str("--pid").map_err(text)?,
        conns: args.opt_value_from_str("--conns").map_err(text)?.unwrap_or(1),
        window: args.opt_value_from_str("--window").map_err(text)?.unwrap_or(1),
        size: args.opt_value_from_str("--size").map_err(text)?.unwrap_or(16),
        kind: args.opt_value_from_str("--kind").map_err(text)?.unwrap_or_else(|| "text".into()),
        rate: args.opt_value_from_str("--rate").map_err(text)?.unwrap_or(0.0),
        bytes: args.opt_value_from_str("--bytes").map_err(text)?.unwrap_or(1 << 30),
        warmup: seconds(&mut args, "--warmup", 1.0).map_err(text)?,
        seconds: seconds(&mut args, "--seconds", 2.0).map_err(text)?,
        settle: seconds(&mut args, "--settle", 1.0).map_err(text)?,
        probe: args.opt_value_from_str("--probe").map_err(text)?.unwrap_or(200.0),
        raw: args.contains("--raw"),
        spin: args.contains("--spin"),
    };
    let rest = args.finish();
    if !rest.is_empty() {
        return Err(format!("not understood: {rest:?}\n{HELP}"));
    }

    let files = raise_files();
    if files < options.conns as u64 + SPARE_FILES {
        return Err(format!("{} sessions need as many files, and {files} may be open here (ulimit -n)", options.conns));
    }
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let driver = Driver::new(to, tls, options.raw).map_err(text)?;
    match load.as_str() {
        "echo" => loads::echo::run(driver, &options),
        "push" => loads::push::run(driver, &options),
        "fanout" => loads::fanout::run(driver, &options),
        "stream" => loads::stream::run(driver, &options),
        "upload" => loads::upload::run(driver, &options),
        "idle" => loads::idle::run(driver, &options),
        "connect" => loads::connect::run(driver, &options),
        _ => Err(format!("no load is called {load}\n{HELP}")),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Where the system cannot do it, the thread stays where it is.
fn pin(core: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

/// A session is a file on either side. Beyond the hard limit only the superuser gets.
fn raise_files() -> u64 {
    #[cfg(unix)]
    if let Ok((_, hard)) = rlimit::Resource::NOFILE.get() {
        let most = hard.max(FILES);
        if rlimit::Resource::NOFILE.set(most, most).is_ok() {
            return most;
        }
    }
    rlimit::increase_nofile_limit(FILES).unwrap_or(FILES)
}

#[cfg(unix)]
fn become_program(args: Arguments) -> Result<Figures, String> {
    use std::os::unix::process::CommandExt;
    let words = args.finish();
    let (program, rest) = words.split_first().ok_or(HELP)?;
    Err(format!("{program:?}: {}", std::process::Command::new(program).args(rest).exec()))
}

#[cfg(not(unix))]
fn become_program(_args: Arguments) -> Result<Figures, String> {
    Err("only on Unix".into())
}
