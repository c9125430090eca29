// Checks `ssl` and makes of it what the native side takes: keys and certificates that belong together.
import { X509Certificate, createPrivateKey } from "node:crypto";
import { parseDate, today } from "./clock.js";
import { TlsVersion } from "./numbers.js";
import { nearest } from "./option-names.js";
import { checkPem, readPem, tlsError } from "./pem.js";

/** @typedef {import("node:crypto").KeyObject} KeyObject */
/** @typedef {import("../native.cjs").NativeTls} NativeTls */

/**
 * A certificate and those of its issuers.
 *
 * @typedef {object} Chain
 * @property {string} name of the option
 * @property {[X509Certificate, ...X509Certificate[]]} certificates
 */

/** @typedef {{ name: string, key: KeyObject }} NamedKey */

const KEY = "ERR_CAMP_TLS_KEY";
const CERT = "ERR_CAMP_TLS_CERT";
const CA = "ERR_CAMP_TLS_CA";
const PASSPHRASE = "ERR_CAMP_TLS_PASSPHRASE";
const MISMATCH = "ERR_CAMP_TLS_MISMATCH";
const UNSUPPORTED = "ERR_CAMP_TLS_UNSUPPORTED";

const STANDING = ["ca", "requestCert", "rejectUnauthorized", "minVersion", "maxVersion", "ALPNProtocols"];
const FIELDS = new Set(["key", "cert", "passphrase", ...STANDING]);

/** Fields of Node's that are not served, where there is something to say. */
const INSTEAD = new Map([
  ["pfx", "convert it with `openssl pkcs12 -in FILE -nodes` and pass key and cert"],
  ["secureProtocol", "use minVersion and maxVersion"],
  ["handshakeTimeout", "use the server's option handshakeTimeoutMs"],
]);

/** As Node names them, with their numbers for the native side. */
const VERSIONS = new Map([["TLSv1.2", TlsVersion.TLS12], ["TLSv1.3", TlsVersion.TLS13]]);

/** What is signed with: all that rustls knows, by ring. */
const CURVES = new Map([["prime256v1", "P-256"], ["secp384r1", "P-384"], ["secp521r1", "P-521"]]);
const SUPPORTED_CURVES = new Set(["prime256v1", "secp384r1"]);
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 4096;

/**
 * @param {any} ssl
 * @param {object} [standing] what stays in force where `ssl` says nothing
 * @returns {NativeTls}
 * @throws {TypeError | RangeError} naming the option
 */
export function readSsl(ssl, standing) {
  if (typeof ssl !== "object" || ssl === null) {
    throw new TypeError(`ssl must be an object with key and cert, not ${ssl === null ? "null" : typeof ssl}.`);
  }
  checkFields(ssl);
  for (const [index, value] of list(ssl.key)) checkPem(`ssl.key${index}`, index !== "" && value?.pem !== undefined ? value.pem : value);
  for (const [index, value] of list(ssl.cert)) checkPem(`ssl.cert${index}`, value);
  const { ca, requestCert, rejectUnauthorized, minVersion, maxVersion, ALPNProtocols } = standingTls(ssl, standing);
  const keys = readKeys(ssl);
  const chains = list(ssl.cert).map(([index, value]) => readChain(`ssl.cert${index}`, value));
  const issuers = ca === undefined ? undefined : readCertificates("ssl.ca", ca);
  const pairs = pair(keys, chains);
  return {
    keys: pairs.map(({ key }) => exported(key)),
    chains: pairs.map(({ chain }) => complete(chain.certificates, issuers ?? []).map(({ raw }) => raw)),
    clientRoots: clientRoots(requestCert, rejectUnauthorized, issuers),
    ...versions(minVersion, maxVersion),
    alpn: protocols(ALPNProtocols),
  };
}

/**
 * What a new key and certificate leave as it is: nobody who renews a certificate wants to let in clients
 * that have none.
 *
 * @param {any} ssl
 * @param {any} [before]
 */
export function standingTls(ssl, before) {
  /** @type {any} */
  const standing = { ...before };
  // Node takes null for none.
  for (const name of STANDING) if (ssl?.[name] !== undefined && ssl[name] !== null) standing[name] = ssl[name];
  return standing;
}

/**
 * Certificates of `ca`, one value or several.
 *
 * @param {string} name
 * @param {unknown} value
 */
export function readCertificates(name, value) {
  for (const [index, one] of list(value)) checkPem(`${name}${index}`, one);
  const all = list(value).flatMap(([index, one]) => parseCertificates(`${name}${index}`, one, CA));
  if (all.length === 0) throw tlsError(CA, `${name} is empty.`);
  return all;
}

/** @param {any} ssl */
function checkFields(ssl) {
  for (const name in ssl) {
    if (FIELDS.has(name) || ssl[name] === undefined) continue;
    const meant = nearest(name, [...FIELDS]);
    if (meant !== undefined) throw unsupported(`ssl.${name} is not supported: did you mean ssl.${meant}?`);
    const instead = INSTEAD.get(name) ?? `the options of TLS are ${[...FIELDS].join(", ")}`;
    throw unsupported(`ssl.${name} is not supported: ${instead}.`);
  }
}

/** @param {string} message */
function unsupported(message) {
  return Object.assign(new TypeError(message), { code: UNSUPPORTED });
}

/**
 * The elements of an option that may be an array, each with what names it.
 *
 * @param {unknown} value
 * @returns {[index: string, value: any][]}
 */
function list(value) {
  return Array.isArray(value) ? value.map((one, index) => [`[${index}]`, one]) : [["", value]];
}

/**
 * @param {any} ssl
 * @returns {NamedKey[]}
 */
function readKeys(ssl) {
  const common = passphrase("ssl.passphrase", ssl.passphrase);
  const inArray = Array.isArray(ssl.key);
  const keys = list(ssl.key).map(([index, value]) => {
    const name = `ssl.key${index}`;
    const own = inArray && value?.pem !== undefined;
    const phrase = own ? passphrase(`${name}.passphrase`, value.passphrase) : undefined;
    return { name, key: readKey(name, own ? value.pem : value, phrase ?? common) };
  });
  if (keys.length === 0) throw tlsError(KEY, "ssl.key is empty.");
  return keys;
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function passphrase(name, value) {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw new TypeError(`${name} must be a string, not ${typeof value}.`);
  return value;
}

/**
 * @param {string} name
 * @param {string | NodeJS.ArrayBufferView} value
 * @param {string | undefined} phrase
 */
function readKey(name, value, phrase) {
  // As Node does: the first one counts.
  const [block] = readPem(name, value, "private key", KEY);
  if (block === undefined) throw tlsError(KEY, `${name} is empty.`);
  if (block.encrypted && phrase === undefined) {
    throw tlsError(PASSPHRASE, `${name} is encrypted: pass its passphrase as ssl.passphrase, or decrypt it with \`openssl pkey -in FILE\`.`);
  }
  /** @type {KeyObject} */
  let key;
  try {
    key = createPrivateKey({ key: block.pem, format: "pem", ...(block.encrypted ? { passphrase: phrase } : undefined) });
  } catch {
    throw unreadable(name, block.encrypted);
  }
  const type = unsupportedType(key);
  if (type !== undefined) {
    throw tlsError(UNSUPPORTED, `${name} is ${type}, which is not supported: use RSA with ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits, ECDSA on P-256 or P-384, or Ed25519.`);
  }
  return key;
}

/**
 * OpenSSL's own words are left out: nothing says that they never quote. Nor does its code tell a wrong passphrase
 * from a damaged key: one in 256 seems to decrypt.
 *
 * @param {string} name
 * @param {boolean} encrypted
 */
function unreadable(name, encrypted) {
  if (!encrypted) return tlsError(KEY, `${name} is damaged, or of a kind that this Node.js does not know: what stands between BEGIN and END is no private key.`);
  return tlsError(PASSPHRASE, `${name} cannot be decrypted: the passphrase is wrong, the file is damaged, or encrypted in a way that this Node.js does not know (\`openssl pkcs8 -topk8 -in FILE\` converts it).`);
}

/**
 * The name of a type of key that handshakes cannot be signed with.
 *
 * @param {KeyObject} key
 */
function unsupportedType(key) {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = "" } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "rsa":
      if (modulusLength < MIN_RSA_BITS || modulusLength > MAX_RSA_BITS) return `an RSA key of ${modulusLength} bits`;
      return publicExponent < 65537n ? `an RSA key with the public exponent ${publicExponent}` : undefined;
    case "rsa-pss": return "an RSA-PSS key";
    case "ec":
      if (SUPPORTED_CURVES.has(namedCurve)) return undefined;
      return namedCurve === "" ? "an EC key with parameters of its own" : `an EC key on the curve ${CURVES.get(namedCurve) ?? namedCurve}`;
    case "ed25519": return undefined;
    default: return `a key of the type ${key.asymmetricKeyType}`;
  }
}

/**
 * As PKCS#8.
 *
 * @param {KeyObject} key
 */
function exported(key) {
  // A JWK always has the public point, without which ring takes no EC key.
  const whole = key.asymmetricKeyType === "ec" ? createPrivateKey({ key: key.export({ format: "jwk" }), format: "jwk" }) : key;
  return whole.export({ type: "pkcs8", format: "der" });
}

/**
 * @param {string} name
 * @param {string | NodeJS.ArrayBufferView} value
 * @returns {Chain}
 */
function readChain(name, value) {
  const [first, ...issuers] = parseCertificates(name, value, CERT);
  if (first === undefined) throw tlsError(CERT, `${name} is empty.`);
  const now = today();
  if (parseDate(first.validTo) < now) warn(`${name} has expired: it was valid until ${first.validTo}.`);
  if (parseDate(first.validFrom) > now) warn(`${name} is not valid yet: it will be from ${first.validFrom}.`);
  return { name, certificates: [first, ...issuers] };
}

/** @param {string} text */
function warn(text) {
  process.emitWarning(`${text} Most clients will refuse it.`, { type: "CAMPWarning", code: "CAMP_TLS_CERT_DATE" });
}

/**
 * @param {string} name
 * @param {string | NodeJS.ArrayBufferView} value
 * @param {string} code
 */
function parseCertificates(name, value, code) {
  const blocks = readPem(name, value, "certificate", code);
  return blocks.map(({ der, label, pem }, index) => {
    try {
      // Only OpenSSL's reader of PEM knows the trust that may stand behind the certificate.
      return new X509Certificate(label === "TRUSTED CERTIFICATE" ? pem : der);
    } catch {
      const which = blocks.length > 1 ? `certificate ${index + 1} of ${blocks.length}` : "it";
      throw tlsError(code, `${name} is damaged: ${which} is no X.509 certificate.`);
    }
  });
}

/**
 * Each chain with its key, whichever order they come in.
 *
 * @param {NamedKey[]} keys
 * @param {Chain[]} chains
 */
function pair(keys, chains) {
  if (chains.length === 0) throw tlsError(CERT, "ssl.cert is empty.");
  const used = new Set();
  const pairs = chains.map((chain) => {
    const found = keys.find(({ key }) => chain.certificates[0].checkPrivateKey(key));
    if (found === undefined) throw tlsError(MISMATCH, mismatch(chain, keys));
    used.add(found);
    return { key: found.key, chain };
  });
  const idle = keys.find((key) => !used.has(key));
  if (idle !== undefined) throw tlsError(MISMATCH, `${idle.name} belongs to none of the certificates in ssl.cert.`);
  return pairs;
}

/**
 * @param {Chain} chain
 * @param {NamedKey[]} keys
 */
function mismatch({ name, certificates: [first, ...issuers] }, keys) {
  if (issuers.some((issuer) => keys.some(({ key }) => issuer.checkPrivateKey(key)))) {
    return `${name} has its certificates in the wrong order: the server's own comes first, then its issuer's.`;
  }
  const type = /** @param {KeyObject} key */ (key) => key.asymmetricKeyType?.toUpperCase();
  const types = keys.length === 1 && keys[0] !== undefined && type(keys[0].key) !== type(first.publicKey)
    ? `: that is of the type ${type(first.publicKey)}, the key ${type(keys[0].key)}` : "";
  return `${keys.length === 1 ? "ssl.key does not belong" : "None of the keys in ssl.key belongs"} to the certificate in ${name}${types}.`;
}

/**
 * A certificate that comes without its issuers is shown with those that `ca` has, as OpenSSL does.
 *
 * @param {[X509Certificate, ...X509Certificate[]]} chain
 * @param {X509Certificate[]} known
 */
function complete(chain, known) {
  if (chain.length > 1) return chain;
  const whole = [...chain];
  for (let last = chain[0]; whole.length <= known.length;) {
    const issuer = known.find((one) => last.checkIssued(one) && !one.checkIssued(one) && !whole.includes(one));
    if (issuer === undefined) break;
    whole.push(issuer);
    last = issuer;
  }
  return whole;
}

/**
 * Whom a client's certificate must come from; `undefined`: none is asked for.
 *
 * @param {unknown} requestCert
 * @param {unknown} rejectUnauthorized
 * @param {X509Certificate[] | undefined} ca
 */
function clientRoots(requestCert, rejectUnauthorized, ca) {
  const requested = flag("ssl.requestCert", requestCert, false);
  const rejects = flag("ssl.rejectUnauthorized", rejectUnauthorized, true);
  if (!requested) return undefined;
  if (!rejects) {
    throw unsupported("ssl.rejectUnauthorized: false is not supported together with requestCert: clients without a trusted certificate are always refused.");
  }
  if (ca !== undefined) return ca.map((certificate) => certificate.raw);
  // Node's own, as in Node.
  return process.getBuiltinModule("node:tls").rootCertificates.map((pem) => new X509Certificate(pem).raw);
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {boolean} fallback
 */
function flag(name, value, fallback) {
  if (value === undefined) return fallback;
  if (typeof value !== "boolean") throw new TypeError(`${name} must be a boolean, not ${typeof value}.`);
  return value;
}

/**
 * @param {unknown} min
 * @param {unknown} max
 */
function versions(min, max) {
  const minVersion = version("ssl.minVersion", min, TlsVersion.TLS12);
  const maxVersion = version("ssl.maxVersion", max, TlsVersion.TLS13);
  if (minVersion > maxVersion) throw new RangeError("ssl.minVersion is above ssl.maxVersion.");
  return { minVersion, maxVersion };
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {number} fallback
 */
function version(name, value, fallback) {
  if (value === undefined) return fallback;
  const number = VERSIONS.get(/** @type {string} */ (value));
  if (number === undefined) throw new RangeError(`${name} must be "TLSv1.2" or "TLSv1.3": others are not supported.`);
  return number;
}

/** Names of protocols, in an array or each behind its length as in the handshake. @param {unknown} value */
function protocols(value) {
  if (value === undefined) return [];
  const names = Array.isArray(value) ? value.map((name) => (typeof name === "string" ? Buffer.from(name) : name)) : split(value);
  if (!names.every((name) => ArrayBuffer.isView(name) && name.byteLength > 0 && name.byteLength < 256)) {
    throw new TypeError("ssl.ALPNProtocols must be an array of names of 1 to 255 bytes, or a Buffer with each name behind its length.");
  }
  return names.map((name) => new Uint8Array(name.buffer, name.byteOffset, name.byteLength));
}

/** @param {any} list */
function split(list) {
  if (!ArrayBuffer.isView(list)) return [undefined];
  const bytes = Buffer.from(list.buffer, list.byteOffset, list.byteLength);
  const names = [];
  for (let at = 0; at < bytes.length; at += 1 + (bytes[at] ?? 0)) {
    const end = at + 1 + (bytes[at] ?? 0);
    // One that is longer than what is left is no name.
    names.push(end > bytes.length ? undefined : bytes.subarray(at + 1, end));
  }
  return names;
}
