// Chance that can be repeated: the same seed gives the same numbers.

/** `CAMP_SEED` repeats a run. */
export const SEED = Number(process.env.CAMP_SEED ?? 0) || (Date.now() % 1_000_000_007);

export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1): mulberry32. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** A whole number in [0, below). */
  int(below) {
    return Math.floor(this.next() * below);
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(items) {
    return items[this.int(items.length)];
  }

  /** A generator of its own: what one part of a test draws does not depend on the timing of another. */
  fork() {
    return new Random(this.int(2 ** 32));
  }
}

/** Runs `body` with a seed that its failure tells. */
export async function seeded(t, seed, body) {
  t.diagnostic(`seed ${seed}`);
  try {
    await body(new Random(seed));
  } catch (error) {
    error.message = `CAMP_SEED=${seed}: ${error.message}`;
    throw error;
  }
}
