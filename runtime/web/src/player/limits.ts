/** Longest name of a participant; the relay cuts off the rest (`runtime/relay/core/plain_text.py`). */
export const LONGEST_NAME = 40;
