// Warnings of the process: for what is taken as it is, and was hardly meant so.

/**
 * @param {string} code stable, for `process.on("warning")` and `--disable-warning`
 * @param {string} text
 */
export function warn(code, text) {
  process.emitWarning(text, { type: "CAMPWarning", code });
}
