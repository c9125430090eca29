// PEM texts: what is in them, and what is wrong with one that has nothing to offer. An error never quotes
// any of a text: it may be a private key.
import { bytesOf } from "./bytes.js";
import { invalidArgument } from "./errors.js";

/**
 * @typedef {object} Block
 * @property {string} label what stands behind BEGIN
 * @property {string} pem the block by itself, with the line ends and the line lengths of the standard
 * @property {Buffer} der what it encodes
 * @property {boolean} encrypted
 */

/** @typedef {"private key" | "certificate"} Wanted */

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[ \t]*[\r\n]([^]*?)-----END \1-----/g;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** Longest text that may be meant as a path. */
const MAX_PATH = 1024;

/** What else may be in a block, and what to do about it. @type {[label: RegExp, what: string][]} */
const FOREIGN = [
  [/^OPENSSH PRIVATE KEY$/, "holds a key in OpenSSH's own format: convert it with `ssh-keygen -p -m PKCS8 -f FILE`"],
  [/^(RSA )?PUBLIC KEY$/, "holds a public key"],
  [/^(NEW )?CERTIFICATE REQUEST$/, "holds a request for a certificate, not the certificate that the authority made of it"],
  [/^(CMS|PKCS7|PKCS #7 SIGNED DATA)$/, "is a PKCS#7 file: convert it with `openssl pkcs7 -print_certs -in FILE`"],
];

/**
 * An option of TLS that cannot be used.
 *
 * @param {string} code says what is wrong
 * @param {string} message
 */
export function tlsError(code, message) {
  return Object.assign(new RangeError(message), { code });
}

/**
 * The private keys or the certificates in a text, at least one.
 *
 * @param {string} name of the option
 * @param {string | NodeJS.ArrayBufferView} value
 * @param {Wanted} wanted
 * @param {string} code of what is thrown
 * @returns {Block[]}
 * @throws {RangeError} with the code
 */
export function readPem(name, value, wanted, code) {
  const text = asText(value);
  const found = wanted === "private key" ? /(^| )PRIVATE KEY$/ : /^(X509 |TRUSTED )?CERTIFICATE$/;
  const blocks = [];
  const labels = [];
  for (const [, label = "", body = ""] of text.matchAll(BLOCK)) {
    labels.push(label);
    if (!found.test(label) || label === "OPENSSH PRIVATE KEY") continue;
    const block = readBlock(label, body);
    if (block === undefined) {
      throw tlsError(code, `${name}: the block ${blocks.length + 1} with a ${wanted} is damaged: what stands between BEGIN and END is not base64.`);
    }
    blocks.push(block);
  }
  if (blocks.length === 0) throw tlsError(code, `${name} ${labels.length > 0 ? foreign(labels, wanted) : fault(text, wanted)}.`);
  // The beginning of a block without an end: a file that was cut off.
  if (wanted === "certificate" && text.split("-----BEGIN ").length - 1 > labels.length) {
    throw tlsError(code, `${name} ${fault(text, wanted)}.`);
  }
  return blocks;
}

/**
 * @param {string} name
 * @param {unknown} value
 * @throws {TypeError}
 */
export function checkPem(name, value) {
  // Node takes any view here, and no ArrayBuffer.
  if (typeof value === "string" || (ArrayBuffer.isView(value) && bytesOf(value) !== undefined)) return;
  throw invalidArgument(`${name} must be a Buffer or string in PEM format, not ${value === null ? "null" : typeof value}.`);
}

/**
 * PEM is ASCII; what surrounds the blocks may be anything.
 *
 * @param {string | NodeJS.ArrayBufferView} value
 */
function asText(value) {
  if (typeof value === "string") return value;
  const bytes = bytesOf(value);
  return bytes === undefined ? "" : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/**
 * @param {string} label
 * @param {string} body
 * @returns {Block | undefined}
 */
function readBlock(label, body) {
  const lines = body.split(/[\r\n]+/).map((line) => line.trim()).filter((line) => line !== "");
  const headers = lines.filter((line) => line.includes(":"));
  const base64 = lines.slice(headers.length).join("");
  if (base64.length % 4 !== 0 || !BASE64.test(base64)) return undefined;
  const wrapped = base64.replace(/.{64}(?=.)/g, "$&\n");
  const head = headers.length > 0 ? `${headers.join("\n")}\n\n` : "";
  return {
    label,
    pem: `-----BEGIN ${label}-----\n${head}${wrapped}\n-----END ${label}-----\n`,
    der: Buffer.from(base64, "base64"),
    encrypted: label.startsWith("ENCRYPTED ") || headers.some((line) => line.endsWith(",ENCRYPTED")),
  };
}

/**
 * What a text has instead of what is wanted.
 *
 * @param {string[]} labels
 * @param {Wanted} wanted
 */
function foreign(labels, wanted) {
  const other = wanted === "certificate" ? "private key" : "certificate";
  if (labels.some((label) => label.endsWith(other.toUpperCase()) && label !== "OPENSSH PRIVATE KEY")) {
    return `holds a ${other} and no ${wanted}: key and cert may be swapped`;
  }
  for (const [label, what] of FOREIGN) {
    if (labels.some((given) => label.test(given))) return what;
  }
  return `holds no ${wanted}`;
}

/**
 * What is wrong with a text that has no whole block.
 *
 * @param {string} text
 * @param {Wanted} wanted
 */
function fault(text, wanted) {
  if (text.trim() === "") return "is empty";
  if (/^0[\x80-\x84\uFFFD]/.test(text)) {
    const how = wanted === "certificate" ? "openssl x509 -inform DER -in FILE" : "openssl pkey -inform DER -in FILE";
    return `is in binary format (DER): convert it to PEM with \`${how}\`, or \`openssl pkcs12 -in FILE -nodes\` if it is a PKCS#12 file`;
  }
  if (/^(\xFF\xFE|\xFE\xFF)|\0/.test(text)) return "is in UTF-16: save it as ASCII or UTF-8";
  if (!text.includes("-----BEGIN ")) {
    if (/^[A-Za-z0-9+/=\s]{100,}$/.test(text)) return "lacks the lines -----BEGIN ...----- and -----END ...-----";
    if (isPath(text)) return "seems to be a path: pass the contents of the file, `readFileSync(path)`";
    return "is not in PEM format: it has no line -----BEGIN ...-----";
  }
  if (/\\[nr]/.test(text)) return 'has its line ends written out as \\n: pass `value.replaceAll("\\\\n", "\\n")`';
  if (!text.includes("-----END ")) return "is cut off: it has no line -----END ...-----";
  if (/-----BEGIN [A-Z0-9 ]+-----[ \t]*[^\s-]/.test(text)) {
    return "has lost its line ends: BEGIN and END must each stand on a line of their own. Read it from a file, or keep it in the environment in base64";
  }
  return "is damaged: a line -----BEGIN ...----- has no -----END ...----- that goes with it";
}

/** @param {string} text */
function isPath(text) {
  return text.length <= MAX_PATH && !/[\r\n]/.test(text.trim()) && /[\\/]|\.\w{1,8}\s*$/.test(text);
}
