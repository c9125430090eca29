// The names that index.d.ts exports, and those of their members, by the layout that the file keeps.
import { readFileSync } from "node:fs";

const text = readFileSync(new URL("../../index.d.ts", import.meta.url), "utf8").replaceAll(/\/\*[^]*?\*\//g, "");

const EXPORT = /^export (?:class|interface|type|const|function|namespace) (\w+)/;
const MEMBER = /^ {4}(?:readonly |get |static )*(?:"([^"]+)"|\[(Symbol\.\w+)\]|(\w+))\??[(:<]/;
const LITERAL = /"([^"]+)"/g;

/** `["CAMPBase", "CAMPBase.Ping", ...]`; the values of a union of strings count as members of its type. */
export function declaredNames() {
  const names = new Set();
  let owner;
  for (const line of text.split("\n")) {
    const exported = EXPORT.exec(line);
    if (exported !== null) names.add((owner = exported[1]));
    else if (/^\S/.test(line) && !line.startsWith("}")) owner = undefined;
    if (owner === undefined) continue;
    const member = MEMBER.exec(line);
    if (member !== null && member[3] !== "constructor") names.add(`${owner}.${member[1] ?? member[2] ?? member[3]}`);
    if (/^(export type \w+ =| {4}\|)/.test(line)) for (const [, literal] of line.matchAll(LITERAL)) names.add(`${owner}.${literal}`);
  }
  return [...names];
}
