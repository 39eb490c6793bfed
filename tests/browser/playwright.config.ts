// The page of `driftless dev` in a real Chromium. `cargo xtask browser` runs these scenarios and
// sets the variables: DRIFTLESS_BIN (the program), DRIFTLESS_TEST_CHROMIUM (the browser),
// DRIFTLESS_TEST_OUTPUT (a folder for pictures and traces).

import { defineConfig } from "@playwright/test";
import { FLAGS } from "../chromium.mjs";

const { DRIFTLESS_TEST_CHROMIUM: executablePath, DRIFTLESS_TEST_OUTPUT: output = "../../target/browser" } = process.env;

export default defineConfig({
  testDir: "specs",
  outputDir: `${output}/results`,
  // One scenario at a time, because scenarios that share two cores slow each other's windows down.
  workers: 1,
  retries: 0,
  forbidOnly: true,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  reporter: [["list"], ["json", { outputFile: `${output}/report.json` }]],
  use: {
    viewport: { width: 1280, height: 800 },
    actionTimeout: 30_000,
    trace: "retain-on-failure",
    launchOptions: {
      ...(executablePath && { executablePath }),
      args: [
        ...FLAGS,
        // Treats all windows as visible, so that none is slowed down as a background window.
        "--disable-renderer-backgrounding",
        "--disable-backgrounding-occluded-windows",
        "--disable-background-timer-throttling",
      ],
    },
  },
});
