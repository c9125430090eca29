//! Sources that are collected before they are offered: in memory, or in a temporary file.

use std::io;

use bytes::Bytes;

use super::{Entry, Notice, READ, SourceReport, Sources, State};
use crate::net::disk::DiskFile;
use crate::net::ledger::Charge;
use crate::protocol::Behaviour;
use crate::session::{Command, Input, Session, TxCommand, TxKey};

impl Sources {
    /// Bytes from the application for a source that is collected.
    pub(in crate::net) fn collect(&mut self, key: TxKey, data: &Bytes) -> Option<Notice> {
        let entry = self.by_key.get_mut(&key)?;
        match &mut entry.state {
            State::Collecting(bytes) => {
                bytes.extend_from_slice(data);
                Some(Notice::Credit { key, bytes: data.len() })
            }
            State::Spooling { waiting, collected, .. } => {
                *collected = collected.saturating_add(data.len() as u64);
                if *collected > self.max_spool {
                    let text = format!("the source has more than {} bytes, the limit of maxSpoolBytes", self.max_spool);
                    self.forget(key);
                    return Some(Notice::Failed { key, error: io::Error::new(io::ErrorKind::FileTooLarge, text) });
                }
                let (ledger, sum) = (&self.ledger, &self.in_files);
                let charge = entry.charge.get_or_insert_with(|| Charge::for_source(ledger.clone(), sum.clone()));
                charge.set(*collected);
                if ledger.is_exceeded() {
                    let text = "the temporary files of this server have reached the limit of maxSpoolTotalBytes";
                    self.forget(key);
                    return Some(Notice::Failed { key, error: io::Error::new(io::ErrorKind::QuotaExceeded, text) });
                }
                waiting.push_back(data.clone());
                self.spool(key);
                None
            }
            _ => None,
        }
    }

    /// All of it is here.
    pub(super) fn offer_memory(&mut self, key: TxKey, bytes: Bytes, session: &mut Session, now: std::time::Instant) {
        let Some(entry) = self.by_key.get_mut(&key) else { return };
        let (size, push) = (bytes.len() as u64, entry.behaviour == Behaviour::Push);
        entry.state = if push { State::Passing { credit: 0 } } else { State::Memory(bytes.clone()) };
        self.begin(key, Some(size), session, now);
        if push {
            for command in [TxCommand::Data { key, data: bytes }, TxCommand::End { key }] {
                session.handle(Input::Command(Command::Transaction(command)), now);
            }
        }
    }

    pub(super) fn offer_spool(&mut self, key: TxKey, session: &mut Session, now: std::time::Instant) {
        let Some(entry) = self.by_key.get_mut(&key) else { return };
        let State::Spooling { file, written, waiting, writing: false, ended: true, .. } = &entry.state else { return };
        if !waiting.is_empty() {
            return;
        }
        let size = *written;
        entry.state = match file {
            Some(file) => {
                State::File { file: file.clone(), next: 0, end: size, piece: READ, credit: 0, reading: false }
            }
            None => State::Memory(Bytes::new()),
        };
        self.begin(key, Some(size), session, now);
    }

    /// Writes the next piece into the spool file.
    pub(super) fn spool(&mut self, key: TxKey) {
        let Some(Entry { state: State::Spooling { file, written, waiting, writing, .. }, .. }) =
            self.by_key.get_mut(&key)
        else {
            return;
        };
        if *writing {
            return;
        }
        let Some(data) = waiting.pop_front() else { return };
        *writing = true;
        let (file, at) = (file.clone(), *written);
        self.report_later(move || {
            let write = || {
                let file = file.map_or_else(DiskFile::temporary, Ok)?;
                file.write_at(at, &data)?;
                Ok(file)
            };
            SourceReport::Spooled { key, bytes: data.len(), result: write() }
        });
    }
}
