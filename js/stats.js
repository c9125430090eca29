// The figures of sessions and servers, and their Prometheus text.

/** @typedef {import("../index.js").SessionStats} SessionStats */
/** @typedef {import("../index.js").ServerStats} ServerStats */

/** Figures that both have, as the native side orders them (`src/net/counters.rs`). */
const FIGURES = /** @type {const} */ ([
  "bytesReceived", "bytesSent", "framesReceived", "framesSent", "messagesReceived", "messagesDropped", "ackTimeouts",
  "bytesInFlight", "bytesQueued", "framesQueued", "bytesSpooled",
]);

/** Name, kind and meaning of each figure of a server. @type {[keyof ServerStats, string, "counter" | "gauge", string][]} */
const METRICS = [
  ["sessions", "camp_sessions", "gauge", "Live sessions."],
  ["peers", "camp_peers", "gauge", "Live sessions to other servers, opened by ConnectPeer."],
  ["sessionsOpened", "camp_sessions_opened_total", "counter", "Sessions opened."],
  ["refused", "camp_refused_total", "counter", "Requests refused."],
  ["bytesReceived", "camp_received_bytes_total", "counter", "Bytes of CAMP frames received."],
  ["bytesSent", "camp_sent_bytes_total", "counter", "Bytes of CAMP frames sent."],
  ["framesReceived", "camp_received_frames_total", "counter", "CAMP frames received."],
  ["framesSent", "camp_sent_frames_total", "counter", "CAMP frames sent."],
  ["messagesReceived", "camp_received_messages_total", "counter", "Text, binary and error messages received."],
  ["messagesDropped", "camp_dropped_messages_total", "counter", "Messages that the drop policy removed or refused."],
  ["ackTimeouts", "camp_ack_timeouts_total", "counter", "Messages not acknowledged in time."],
  ["bytesInFlight", "camp_in_flight_bytes", "gauge", "Bytes handed to sockets and not yet written."],
  ["bytesQueued", "camp_queued_bytes", "gauge", "Bytes waiting behind the high watermark."],
  ["framesQueued", "camp_queued_frames", "gauge", "Frames waiting behind the high watermark."],
  ["bytesSpooled", "camp_spooled_bytes", "gauge", "Bytes in temporary files of streams."],
];

/**
 * @param {number[]} figures
 * @returns {SessionStats}
 */
export function sessionStats(figures) {
  return { ...named(figures, 0), rttMs: figures[FIGURES.length] ?? -1 };
}

/**
 * @param {number} sessions
 * @param {number} peers how many of them are sessions to other servers
 * @param {number[]} totals
 * @returns {ServerStats}
 */
export function serverStats(sessions, peers, totals) {
  const [sessionsOpened = 0, refused = 0] = totals;
  return { sessions, peers, sessionsOpened, refused, ...named(totals, 2) };
}

/** @param {ServerStats} stats */
export function prometheusText(stats) {
  return METRICS.map(([key, name, type, help]) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${stats[key]}\n`).join("");
}

/**
 * @param {number[]} figures
 * @param {number} from
 */
function named(figures, from) {
  const entries = FIGURES.map((name, i) => [name, figures[from + i] ?? 0]);
  return /** @type {Record<typeof FIGURES[number], number>} */ (Object.fromEntries(entries));
}
