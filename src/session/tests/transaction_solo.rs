//! A session's transactions against frames made by hand.

use bytes::Bytes;

use super::pair::Solo;
use crate::protocol::{Behaviour, Frame, Text, TxStart};
use crate::session::{Command, Config, Event, TxCommand, TxEnd, TxEvent, TxKey, TxOutcome};

/// The key of the one outgoing transaction where there is but one.
pub(super) const KEY: TxKey = 70;

impl Solo {
    pub(super) fn order(&mut self, command: TxCommand) {
        self.driver.command(Command::Transaction(command));
    }

    pub(super) fn open(&mut self, key: TxKey, behaviour: Behaviour, size: Option<u64>) {
        let name = Text::from("name".to_owned());
        self.order(TxCommand::Open { key, name, size, behaviour });
    }

    /// Opens one whose TX_START, of this number, the peer acknowledges.
    pub(super) fn begin(&mut self, key: TxKey, behaviour: Behaviour, size: Option<u64>, ack: u32) {
        self.open(key, behaviour, size);
        self.acknowledge(ack);
    }

    pub(super) fn feed(&mut self, key: TxKey, len: usize) {
        self.order(TxCommand::Data { key, data: Bytes::from(vec![7; len]) });
    }

    /// The peer's TX_START.
    pub(super) fn started(&mut self, tx_id: u32, size: i64, behaviour: u8) {
        self.receive(start_frame(tx_id, size, behaviour, "name"));
    }

    pub(super) fn chunk(&mut self, tx_id: u32, len: usize) {
        self.receive(Frame::TxChunk { tx_id, offset: 0, data: Bytes::from(vec![7; len]) });
    }

    pub(super) fn fetched(&mut self, tx_id: u32, start: u64, end: u64) {
        self.receive(Frame::TxFetch { ack: 99, tx_id, start, end });
    }

    pub(super) fn cancelled(&mut self, tx_id: u32) {
        self.receive(Frame::TxCancel { ack: 98, tx_id });
    }

    pub(super) fn finished(&mut self, tx_id: u32) {
        self.receive(Frame::TxFinish { ack: 97, tx_id });
    }

    pub(super) fn transaction_events(&mut self) -> Vec<TxEvent> {
        let transaction = |event| match event {
            Event::Transaction(event) => Some(event),
            _ => None,
        };
        self.events().into_iter().filter_map(transaction).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.driver.session.tx.is_idle()
    }
}

pub(super) fn start_frame(tx_id: u32, size: i64, behaviour: u8, name: &str) -> Frame {
    Frame::TxStart(TxStart { ack: 96, tx_id, size, behaviour, name: Text::from(name.to_owned()) })
}

pub(super) fn cancel(ack: u32, tx_id: u32) -> Frame {
    Frame::TxCancel { ack, tx_id }
}

pub(super) fn ack(ack: u32) -> Frame {
    Frame::Ack { ack }
}

pub(super) fn connected() -> Solo {
    Solo::connected(Config::default())
}

pub(super) fn settled(key: TxKey, outcome: TxOutcome) -> TxEvent {
    TxEvent::Settled { key, outcome }
}

pub(super) fn read(start: u64, len: usize) -> TxEvent {
    TxEvent::Read { key: KEY, start, len }
}

pub(super) fn ended(outcome: TxEnd, expected: Option<u64>, received: u64) -> TxEvent {
    TxEvent::Ended { key: 0, outcome, expected, received }
}

pub(super) fn names(frames: &[Frame]) -> Vec<&'static str> {
    frames.iter().map(|frame| frame.frame_type().name()).collect()
}

pub(super) fn diagnostics(frames: Vec<Frame>) -> Vec<String> {
    let text = |frame| match frame {
        Frame::Error { message, .. } => Some(message.to_str_lossy().into_owned()),
        _ => None,
    };
    frames.into_iter().filter_map(text).collect()
}
