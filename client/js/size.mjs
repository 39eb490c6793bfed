// Prints the size of the SDK in bytes after gzip, bundled as an application bundles it: by Vite,
// for production, minified.
//
//   npm run build && npm run size [-- --json]
//
// The exit code is 1 if a part is larger than its limit below.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { build } from "vite";

/**
 * Bytes: the current sizes plus 3%. A change that makes a part larger raises its limit here. The
 * goal is 34 KB in all.
 */
const LIMITS = {
  sdk: 6_410,
  zstd: 3_280,
  glue: 2_640,
  core: 73_900,
  core_simd: 76_500,
  browser: 88_900,
};

const WORDS = {
  sdk: "SDK",
  zstd: "zstd",
  glue: "glue of wasm-bindgen",
  core: "core",
  core_simd: "core with SIMD",
  browser: "everything that one browser loads (with SIMD)",
};

const { values } = parseArgs({ options: { json: { type: "boolean" } } });
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Builds a page with this one script. Returns its files. */
async function bundle(script) {
  const root = mkdtempSync(join(tmpdir(), "driftless-size-"));
  try {
    writeFileSync(join(root, "index.html"), '<script type="module" src="./main.js"></script>');
    writeFileSync(join(root, "main.js"), script);
    const { output } = await build({
      root,
      configFile: false,
      logLevel: "error",
      resolve: { alias: { "@driftless/client": here("dist/index.js") } },
      // The polyfill for old browsers belongs to the application.
      build: { write: false, modulePreload: { polyfill: false }, reportCompressedSize: false },
    });
    const content = (file) => Buffer.from(file.type === "chunk" ? file.code : file.source);
    return output.map((file) => ({ name: file.fileName, bytes: content(file) }));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const find = (files, pattern) => {
  const found = files.filter(({ name }) => pattern.test(name));
  if (found.length === 1) return found[0].bytes;
  const names = files.map(({ name }) => name).join(", ");
  throw new Error(`expected one file named ${pattern}, found ${found.length} in ${names}`);
};
const gzip = (bytes) => gzipSync(bytes, { level: 9 }).length;
const sum = (numbers) => numbers.reduce((sum, number) => sum + number, 0);

const page = await bundle('import { connect } from "@driftless/client"; globalThis.connect = connect;');
const alone = await bundle(
  `import { unzstd } from ${JSON.stringify(here("dist/zstd.js"))}; globalThis.unzstd = unzstd;`,
);

const entry = find(page, /^assets\/index-.*\.js$/);
const glue = find(page, /driftless_core-.*\.js$/);
const core_simd = find(page, /driftless_core_simd-.*\.wasm$/);
const loaded = [entry, glue, core_simd];
const zstd = gzip(find(alone, /^assets\/index-.*\.js$/));
const sizes = {
  sdk: gzip(entry) - zstd,
  zstd,
  glue: gzip(glue),
  core: gzip(find(page, /driftless_core-.*\.wasm$/)),
  core_simd: gzip(core_simd),
  browser: sum(loaded.map(gzip)),
};
// Most hosts send Brotli. There is no limit for it.
const brotli = sum(loaded.map((bytes) => brotliCompressSync(bytes).length));

const tooLarge = Object.keys(sizes).filter((part) => sizes[part] > LIMITS[part]);
if (values.json)
  console.log(
    JSON.stringify({ gzip_bytes: sizes, brotli_bytes: { browser: brotli }, limits: LIMITS, too_large: tooLarge }),
  );
else {
  for (const [part, bytes] of Object.entries(sizes)) {
    const mark = tooLarge.includes(part) ? "  TOO LARGE" : "";
    console.log(
      `${WORDS[part].padEnd(48)} ${String(bytes).padStart(7)} bytes gzip, at most ${String(LIMITS[part]).padStart(7)}${mark}`,
    );
  }
  console.log(`${WORDS.browser.padEnd(48)} ${String(brotli).padStart(7)} bytes Brotli`);
}
process.exitCode = tooLarge.length > 0 ? 1 : 0;
