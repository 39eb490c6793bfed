import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // For what talks to a real stack; each waits for its condition with a shorter deadline of its own.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
