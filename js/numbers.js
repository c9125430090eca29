// The numbers that stand for something on both sides of the boundary, but for the kinds of records, which are where
// those are read. Each object has the name and the members of an enum in `src/`.

/** Kinds of messages. */
export const DataKind = Object.freeze({ UTF8: 0, BINARY: 1, ERROR: 2 });

/** What became of a send. */
export const Outcome = Object.freeze({ DONE: 0, TIMED_OUT: 1, SESSION_CLOSED: 2, DROPPED: 3, TOO_LARGE: 4, OVER: 5 });

/** How an incoming transaction ended. */
export const TxEnd = Object.freeze({ FINISHED: 0, CANCELLED: 1, SIZE_BELIED: 2, OVERFLOW: 4, SPOOL_FAILED: 5 });

/** How an outgoing transaction ended. */
export const TxOutcome = Object.freeze({
  DONE: 0, CANCELLED: 1, SESSION_CLOSED: 2, SOURCE_FAILED: 3, TIMED_OUT: 4, UNSUPPORTED: 5, TOO_MANY_PIECES: 6,
});

/** Who sets the pace of a transaction. */
export const Behaviour = Object.freeze({ PUSH: 0, PULL: 1 });

/** Where the bytes of an outgoing transaction come from. */
export const SourceKind = Object.freeze({ FED: 0, FILE: 1, MEMORY: 2, SPOOL: 3 });

/** What is made of an upgrade request. */
export const Verdict = Object.freeze({ REFUSED: 0, ACCEPTED: 1, FAILED: 2 });

/** Why a session to another server was not opened. */
export const ConnectFailure = Object.freeze({ UNREACHABLE: 0, TLS: 1, REFUSED: 2, HANDSHAKE: 3, TIMEOUT: 4, SHUTTING_DOWN: 5 });

/** Bits: which connections an application takes. */
export const HttpInterest = Object.freeze({ REQUESTS: 1, UPGRADES: 2 });

/** The versions of TLS. */
export const TlsVersion = Object.freeze({ TLS12: 2, TLS13: 3 });
