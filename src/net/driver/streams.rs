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
        let sources = self
            .sources
            .get_or_insert_with(|| Box::new(Sources::new(self.mailbox.clone(), self.server.session_config.max_unread)));
        let notice = sources.open(order);
        self.notify(notice);
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
        app.commit();
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
                    app.commit();
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

    /// The session is over: what has come whole of streams can still be read.
    pub(super) fn keep_finished_streams(&mut self) {
        let finished = self.spools.as_mut().map_or_else(Vec::new, |spools| spools.retain_finished());
        if finished.is_empty() {
            self.spools = None;
            return;
        }
        for key in finished {
            self.server.app.outlives(self.slot, key);
        }
        self.lingering = Some(Lingering::begin(self.server.clone(), self.slot));
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
        app.commit();
    }

    /// Keeps back what its reader is not ready for.
    #[inline]
    pub(super) fn through_spool(&mut self, event: TxEvent) -> Option<TxEvent> {
        if matches!(event, TxEvent::Started { .. }) && self.spools.is_none() {
            let max_unread = self.server.session_config.max_unread;
            self.spools = Some(Box::new(Spools::new(self.mailbox.clone(), max_unread)));
        }
        let Some(spools) = &mut self.spools else { return Some(event) };
        spools.on_event(event, self.server.app.as_ref())
    }
}
