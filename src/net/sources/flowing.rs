//! Sources without a size: what comes of them is passed on, or collected.

use bytes::Bytes;

use super::{Entry, Notice, READ, Sources, State};
use crate::session::{Command, Input, Session, TxCommand, TxKey};

impl Sources {
    /// Bytes of what has no size.
    pub(super) fn on_flow(
        &mut self,
        key: TxKey,
        data: Bytes,
        session: &mut Session,
        now: std::time::Instant,
    ) -> Option<Notice> {
        let entry = self.by_key.get_mut(&key)?;
        if !data.is_empty() {
            if let State::Passing { credit } = &mut entry.state {
                *credit = credit.saturating_sub(data.len());
                session.handle(Input::Command(Command::Transaction(TxCommand::Data { key, data })), now);
            } else if let Some(failed) = self.collect(key, &data) {
                return Some(failed);
            }
        }
        self.pump(key, session, now);
        None
    }

    /// Reads the next piece of what has no size, if there is room for it.
    pub(super) fn pump(&mut self, key: TxKey, session: &mut Session, now: std::time::Instant) {
        let Some(Entry { state, flow: Some(flow), .. }) = self.by_key.get_mut(&key) else { return };
        let room = match state {
            State::Passing { credit } => *credit,
            State::Spooling { waiting, writing: false, .. } if waiting.is_empty() => READ,
            _ => 0,
        };
        if flow.is_over() {
            self.end_flow(key, session, now);
        } else if room > 0 && !flow.is_reading() {
            flow.read(self.mailbox.clone(), key, room.min(READ));
        }
    }

    pub(super) fn end_flow(&mut self, key: TxKey, session: &mut Session, now: std::time::Instant) {
        let Some(entry) = self.by_key.get_mut(&key) else { return };
        entry.flow = None;
        match &mut entry.state {
            State::Spooling { ended, .. } => {
                *ended = true;
                self.offer_spool(key, session, now);
            }
            _ => session.handle(Input::Command(Command::Transaction(TxCommand::End { key })), now),
        }
    }
}
