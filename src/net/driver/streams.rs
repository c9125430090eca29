//! What a driver does beside its session for transactions: it reads sources, and spools what is
//! read slowly.

use std::time::Instant;

use super::Driver;
use super::linger::Lingering;
use crate::net::sources::{Notice, Source, SourceReport, Sources, TxOrder};
use crate::net::spool::{SpoolReport, Spools};
use crate::session::{Command, Event, Input, TxCommand, TxEnd, TxEvent};

impl Driver {
    pub(super) fn on_source_report(&mut self, report: SourceReport, now: Instant) {
        if let Some(sources) = &mut self.sources {
            let notice = sources.on_report(report, &mut self.session, now);
            self.notify(notice);
        }
    }

    pub(super) fn on_open(&mut self, order: TxOrder, now: Instant) {
        if self.session.is_closed() {
            return;
        }
        if let Source::Fed { size } = order.source {
            let TxOrder { key, name, behaviour, .. } = order;
            let open = TxCommand::Open { key, name, size, behaviour };
            return self.session.handle(Input::Command(Command::Transaction(open)), now);
        }
        let sources = self.sources.get_or_insert_with(|| {
            let (mailbox, ledger) = (self.mailbox.clone(), self.server.ledger.clone());
            Box::new(Sources::new(mailbox, ledger, self.server.config.spool.session))
        });
        sources.open(order);
    }

    pub(super) fn on_spool_report(&mut self, report: SpoolReport, now: Instant) {
        let Some(spools) = &mut self.spools else { return };
        let (app, slot) = (self.server.app.as_ref(), self.slot);
        let mut failed = None;
        spools.on_report(report, app, |event| {
            if let TxEvent::Ended { key, outcome: TxEnd::SpoolFailed, .. } = event {
                failed = Some(key);
            }
            app.event(slot, Event::Transaction(event));
        });
        self.commit_streams();
        if let Some(key) = failed {
            let refuse = TxCommand::Refuse { key };
            self.session.handle(Input::Command(Command::Transaction(refuse)), now);
        }
    }

    pub(super) fn on_tx_command(&mut self, command: TxCommand, now: Instant) {
        if let Some(spools) = &mut self.spools {
            match command {
                TxCommand::Consumed { key, bytes } => {
                    let (app, slot, intake) = (self.server.app.as_ref(), self.slot, &mut self.intake);
                    spools.on_consumed(key, bytes, app, |event| {
                        if let TxEvent::Chunk { data, .. } = &event {
                            intake.add(app, data.len());
                        }
                        app.event(slot, Event::Transaction(event));
                    });
                    self.commit_streams();
                }
                TxCommand::Refuse { key } => spools.forget(key),
                _ => {}
            }
        }
        if let Some(sources) = &mut self.sources {
            match &command {
                TxCommand::Data { key, data } if sources.has(*key) => {
                    let notice = sources.collect(*key, data);
                    return self.notify(notice);
                }
                TxCommand::End { key } if sources.has(*key) => return sources.end(*key, &mut self.session, now),
                TxCommand::Abort { key } => sources.forget(*key),
                _ => {}
            }
        }
        self.session.handle(Input::Command(Command::Transaction(command)), now);
    }

    /// Tells of the streams that had to be given up. False when there are none.
    pub(super) fn give_up_streams(&mut self, now: Instant) -> bool {
        let cancelled = self.spools.as_mut().map_or_else(Vec::new, |spools| spools.take_cancelled());
        if self.reported_closed && self.lingering.is_none() {
            return false;
        }
        for &key in &cancelled {
            let ended = TxEvent::Ended { key, outcome: TxEnd::Overflow, expected: None, received: 0 };
            self.server.app.event(self.slot, Event::Transaction(ended));
            let refuse = TxCommand::Refuse { key };
            self.session.handle(Input::Command(Command::Transaction(refuse)), now);
            // TX_CANCEL is to go out.
            self.fed = true;
        }
        !cancelled.is_empty()
    }

    /// Passes on what happened to streams: who hears of it finds the figures as they are now.
    fn commit_streams(&self) {
        self.counters.set_spooled(self.spooled_bytes());
        self.server.app.commit();
    }

    /// Bytes of temporary files.
    #[inline]
    pub(super) fn spooled_bytes(&self) -> u64 {
        let incoming = self.spools.as_ref().map_or(0, |spools| spools.in_files());
        incoming.saturating_add(self.sources.as_ref().map_or(0, |sources| sources.in_files()))
    }

    /// The session is over: what has come whole of streams can still be read.
    pub(super) fn keep_finished_streams(&mut self) {
        self.sources = None;
        let finished = self.spools.as_mut().map_or_else(Vec::new, |spools| spools.retain_finished());
        if finished.is_empty() {
            self.spools = None;
            return;
        }
        for key in finished {
            self.server.app.outlives(self.slot, key);
        }
        self.lingering = Some(Lingering::begin(self.server.clone(), self.slot, self.counters.clone()));
    }

    fn notify(&self, notice: Option<Notice>) {
        let app = self.server.app.as_ref();
        match notice {
            _ if self.reported_closed => return,
            None => return,
            Some(Notice::Credit { key, bytes }) => {
                app.event(self.slot, Event::Transaction(TxEvent::Credit { key, bytes }));
            }
            Some(Notice::Failed { key, error }) => app.source_failed(self.slot, key, &error),
        }
        self.commit_streams();
    }

    /// Keeps back what its reader is not ready for.
    #[inline]
    pub(super) fn through_spool(&mut self, event: TxEvent) -> Option<TxEvent> {
        if matches!(event, TxEvent::Started { .. }) && self.spools.is_none() {
            let (mailbox, ledger) = (self.mailbox.clone(), self.server.ledger.clone());
            self.spools = Some(Box::new(Spools::new(mailbox, ledger, self.server.config.spool.session)));
        }
        let Some(spools) = &mut self.spools else { return Some(event) };
        spools.on_event(event, self.server.app.as_ref())
    }
}
