import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Long enough for the tests with a real server, whose waits have shorter deadlines.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
