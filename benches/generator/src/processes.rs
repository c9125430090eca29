//! What the server's process tree has used, as far as the system tells: Linux.

/// CPU time so far, in seconds.
#[derive(Clone, Copy, Default)]
pub struct Cpu {
    /// All threads of all processes of the tree.
    pub all: f64,
    /// The first thread of the first process: JavaScript, where there is any.
    pub main: f64,
}

#[cfg(target_os = "linux")]
mod system {
    use super::Cpu;
    use std::fs;

    /// `USER_HZ`, which is 100 on every Linux.
    const TICKS: f64 = 100.0;

    pub fn cpu(pid: u32) -> Option<Cpu> {
        let all = tree(pid).iter().filter_map(|pid| ticks(&format!("/proc/{pid}/stat"))).sum::<f64>();
        Some(Cpu { all: all / TICKS, main: ticks(&format!("/proc/{pid}/task/{pid}/stat"))? / TICKS })
    }

    pub fn resident(pid: u32) -> Option<u64> {
        Some(tree(pid).iter().filter_map(|&pid| resident_of(pid)).sum())
    }

    fn resident_of(pid: u32) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }

    /// utime and stime, the twelfth and thirteenth field after the name in brackets.
    fn ticks(path: &str) -> Option<f64> {
        let stat = fs::read_to_string(path).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
        Some(user + system)
    }

    fn tree(pid: u32) -> Vec<u32> {
        let mut all = vec![pid];
        let mut at = 0;
        while at < all.len() {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", all[at])).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            at += 1;
        }
        all
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Cpu;

    pub fn cpu(_pid: u32) -> Option<Cpu> {
        None
    }

    pub fn resident(_pid: u32) -> Option<u64> {
        None
    }
}

pub use system::{cpu, resident};
