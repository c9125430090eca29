import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["native.cjs", "target/", "fuzz/", "benches/generator/target/", "npm/", "__test__/types/"] },
  js.configs.recommended,
  {
    files: ["**/*.{js,mjs,cjs}"],
    languageOptions: { ecmaVersion: 2024, globals: globals.node },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: ["error", "always", { null: "ignore" }],
      "no-constant-condition": ["error", { checkLoops: false }],
      "no-duplicate-imports": "error",
      "no-implicit-coercion": ["error", { boolean: false }],
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", destructuredArrayIgnorePattern: "^_", caughtErrors: "none" }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": ["error", { ignoreReadBeforeAssign: true }],
      "prefer-promise-reject-errors": "error",
    },
  },
  {
    files: ["js/**/*.js"],
    ignores: ["js/clock.js"],
    rules: {
      "no-restricted-globals": ["error", ...["setTimeout", "setInterval", "setImmediate", "clearTimeout", "clearInterval", "clearImmediate",
        "queueMicrotask", "performance", "Date"].map((name) => ({ name, message: "Applications' tests replace it: take it from clock.js." }))],
      "no-restricted-properties": ["error",
        { object: "process", property: "nextTick", message: "Tests replace it: take it from clock.js." },
        { object: "process", property: "hrtime", message: "Tests replace it: take it from clock.js." },
        { object: "AbortSignal", property: "timeout", message: "Tests replace timers: use setTimeout of clock.js." },
        ...["globalThis", "global"].map((object) => ({ object, allowProperties: [], message: "Tests replace what is there: name it, or take it from clock.js." }))],
      "no-restricted-imports": ["error", ...["timers", "timers/promises", "perf_hooks", "process"].flatMap((name) => [name, `node:${name}`])
        .map((name) => ({ name, message: "Tests replace what is in it, and imports follow: take it from clock.js." }))],
    },
  },
  { files: ["**/*.cjs"], languageOptions: { sourceType: "commonjs" } },
];
