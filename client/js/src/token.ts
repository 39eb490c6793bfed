import type { Token } from "./settings.js";

const TIMEOUT_MS = 10_000;

/**
 * Resolves with a fixed token, or with the result of the token function. Rejects if the function
 * fails or takes longer than 10 s.
 */
export async function askForToken(token: Token): Promise<string> {
  if (typeof token === "string") return token;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    const error = new Error(`the token function gave none within ${TIMEOUT_MS / 1000} s`);
    timer = setTimeout(() => reject(error), TIMEOUT_MS);
  });
  try {
    return await Promise.race([token(), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
