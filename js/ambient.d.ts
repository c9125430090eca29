// What Node's buffers have and @types/node does not name.
export {};

declare global {
  interface Buffer {
    /** The bytes `start` to `end` as UTF-8 text. */
    utf8Slice(start: number, end: number): string;
    /** The bytes `start` to `end` as Latin-1 text; the fastest way to read ASCII. */
    latin1Slice(start: number, end: number): string;
    /** The bytes `start` to `end` as UTF-16 text in the byte order of the machine. */
    ucs2Slice(start: number, end: number): string;
    /** Writes `text` as UTF-8 from `offset` on; returns how many bytes. */
    utf8Write(text: string, offset: number): number;
  }
}
