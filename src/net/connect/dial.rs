//! A TCP connection to one of the addresses of a name.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{ConnectError, Stage};
use crate::net::IoText;

/// How long one address is tried before the next one is tried beside it (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address that answers.
pub(super) async fn dial(host: &str, port: u16, stage: &Cell<Stage>) -> Result<(TcpStream, SocketAddr), ConnectError> {
    // The lookup runs on a thread of its own.
    let found = tokio::net::lookup_host((host, port)).await.map_err(ConnectError::Unreachable)?;
    stage.set(Stage::Connecting);
    race(alternating(found)).await.map_err(ConnectError::Unreachable)
}

async fn race(addresses: Vec<SocketAddr>) -> io::Result<(TcpStream, SocketAddr)> {
    let mut rest = addresses.into_iter();
    // Dropping it gives up what is still being tried.
    let mut attempts = JoinSet::new();
    let mut failures = Vec::new();
    loop {
        let next = rest.next();
        let more = next.is_some();
        if let Some(address) = next {
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        tokio::select! {
            finished = attempts.join_next() => match finished {
                Some(Ok((address, Ok(stream)))) => return Ok((stream, address)),
                Some(Ok((address, Err(error)))) => failures.push((address, error)),
                Some(Err(panicked)) => return Err(io::Error::other(panicked)),
                None => return Err(summary(failures)),
            },
            () = sleep(HEAD_START), if more => {}
        }
    }
}

/// The addresses in their order, but the two families by turns: one of them may lead nowhere.
fn alternating(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let found: Vec<_> = found.collect();
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut these, mut those): (Vec<_>, Vec<_>) =
        found.iter().copied().partition(|address| address.is_ipv6() == first_is_v6);
    let mut all = Vec::with_capacity(found.len());
    these.reverse();
    those.reverse();
    while let Some(address) = these.pop().or_else(|| those.pop()) {
        all.push(address);
        all.extend(those.pop());
    }
    all
}

/// The first failure's kind, and all of them in words.
fn summary(failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let Some((_, first)) = failures.first() else {
        return io::Error::other("the name has no address");
    };
    let text: Vec<_> = failures.iter().map(|(address, error)| format!("{address}: {}", IoText(error))).collect();
    io::Error::new(first.kind(), text.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_none_is_lost() {
        let order = |list: &[&str]| {
            let found = list.iter().map(|text| text.parse::<SocketAddr>().unwrap());
            alternating(found).iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"]), "::1 1.1.1.1 ::2 ::3");
        assert_eq!(order(&["1.1.1.1:1", "[::1]:1", "[::2]:1"]), "1.1.1.1 ::1 ::2");
        assert_eq!(order(&["1.1.1.1:1", "2.2.2.2:1"]), "1.1.1.1 2.2.2.2");
        assert_eq!(order(&[]), "");
    }
}
