//! The session's behaviour, each test named as the sentence it proves. Only the public functions
//! are driven.

mod driver;
mod pair;
mod transaction_books;
mod transaction_exchange;
mod transaction_solo;

mod acks;
mod backpressure;
mod bad_input;
mod closing;
mod keepalive;
mod lifecycle;
mod ordering;
mod owed;
mod sequences;
mod transaction_sequences;
mod transaction_waits;
mod transactions_in;
mod transactions_out;
mod unacknowledged;
mod verdicts;
