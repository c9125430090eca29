// What Node's buffers have and @types/node does not name.
export {};

declare global {
  interface Buffer {
    /** The bytes `start` to `end` as UTF-8 text. */
    utf8Slice(start: number, end: number): string;
    /** The bytes `start` to `end` as Latin-1 text; the fastest way to read ASCII. */
    latin1Slice(start: number, end: number): string;
  }
}
