//! What becomes of a data frame that has to wait: the drop policies.

use super::frame::data_len;
use super::{Outbox, Outgoing};
use crate::session::io::{DropPolicy, Payload, Token};

/// What became of a data frame that was offered.
#[derive(Debug)]
pub(in crate::session) enum Offer {
    /// It will be sent, or waits.
    Taken,
    /// It waits in place of an equal one, sent under this token.
    Replaced(Option<Token>),
    /// The policy refused it.
    Refused(Payload, Option<Token>),
}

impl Outbox {
    pub(super) fn offer_waiting(
        &mut self,
        payload: Payload,
        token: Option<Token>,
        evicted: &mut Vec<(Payload, Option<Token>)>,
    ) -> Offer {
        let len = data_len(&payload);
        let limits = &self.limits;
        if len > limits.max_queued_bytes || limits.max_queue_count == 0 {
            return Offer::Refused(payload, token);
        }
        match limits.policy {
            DropPolicy::Oldest => {
                while !self.has_room(len) {
                    let Some(oldest) = self.evict() else { break };
                    evicted.push(oldest);
                }
            }
            DropPolicy::Newest => {}
            DropPolicy::DedupeLatest => {
                for frame in &mut self.waiting {
                    if let Outgoing::Data { payload: waiting, token: earlier } = frame
                        && *waiting == payload
                    {
                        // A diagnostic nobody waits for must not cost the other send its fate.
                        let later = token.or(*earlier);
                        return Offer::Replaced(std::mem::replace(earlier, later));
                    }
                }
            }
        }
        if !self.has_room(len) {
            return Offer::Refused(payload, token);
        }
        self.waiting_data += 1;
        self.waiting_data_bytes += len;
        self.waiting.push_back(Outgoing::Data { payload: payload.detached(), token });
        Offer::Taken
    }

    fn has_room(&self, len: usize) -> bool {
        self.waiting_data < self.limits.max_queue_count && self.waiting_data_bytes + len <= self.limits.max_queued_bytes
    }

    fn evict(&mut self) -> Option<(Payload, Option<Token>)> {
        let index = self.waiting.iter().position(|f| matches!(f, Outgoing::Data { .. }))?;
        let frame = self.waiting.remove(index)?;
        self.uncount(&frame);
        match frame {
            Outgoing::Data { payload, token } => Some((payload, token)),
            _ => None,
        }
    }
}
