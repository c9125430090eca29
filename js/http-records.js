// The records of connections that are not of CAMP: to whom each is handed.
import { bytesAt, chunk, LARGE, word32 } from "./chunk.js";

const HTTP_OPENED = 48;
const HTTP_DATA = 49;
const HTTP_ENDED = 50;
const HTTP_WRITTEN = 51;
const HTTP_CLOSED = 52;
const HTTP_TURNED_AWAY = 53;
const HTTP_HELD = 54;

/**
 * @param {import("./http.js").HttpInterop | undefined} http
 * @param {number} id of the connection
 * @param {number} word the record's second
 * @param {number} start of its payload
 * @param {number} length
 * @param {(length: number) => Buffer} largeBytes takes a payload that lies beside the log
 */
export function dispatchHttp(http, id, word, start, length, largeBytes) {
  const i = start >>> 2;
  switch (word & 0xff) {
    case HTTP_OPENED: {
      const [remoteAddress = "", localAddress = "", tlsVersion = "", servername = ""] =
        chunk.latin1Slice(start + 8, start + length).split("\0");
      const [remotePort, localPort] = [word32(i), word32(i + 1)];
      http?.opened(id, { remoteAddress, remotePort, localAddress, localPort, tlsVersion, servername });
      break;
    }
    case HTTP_DATA:
      http?.data(id, bytesAt(start, length));
      break;
    case HTTP_DATA | LARGE: {
      const data = largeBytes(length);
      http?.data(id, data);
      break;
    }
    case HTTP_ENDED:
      http?.ended(id);
      break;
    case HTTP_WRITTEN:
      http?.written(id, word32(i));
      break;
    case HTTP_HELD:
      http?.held(id);
      break;
    case HTTP_CLOSED: {
      const [code = "", message = ""] = chunk.utf8Slice(start, start + length).split("\0");
      http?.closed(id, code, message);
      break;
    }
    case HTTP_TURNED_AWAY: {
      const [remoteAddress = "", localAddress = ""] = chunk.latin1Slice(start + 8, start + length).split("\0");
      http?.turnedAway({ remoteAddress, remotePort: word32(i), localAddress, localPort: word32(i + 1) });
      break;
    }
    default:
      throw new Error(`camp-server: record of unknown kind ${word & 0xff}`);
  }
}
