// What is printed to stderr: a line may be lost, nothing else.

/** Bytes that may wait for a stderr that takes nothing. */
const MAX_WAITING = 1024 * 1024;

const ignore = () => {};

/** @type {NodeJS.WriteStream | undefined} */
let guarded;

/**
 * Prints as `console.error` does. An error of stderr costs the line only: Node ignores the first one that `console`
 * meets, and takes the next one for an uncaught exception. While too much waits for a stderr that nobody reads, the
 * line is lost.
 *
 * @param {unknown[]} details
 */
export function print(...details) {
  const { stderr } = process;
  if (guarded !== stderr) {
    guarded = stderr;
    stderr.on("error", ignore);
  }
  if (!(stderr.writableLength > MAX_WAITING)) console.error(...details);
}
