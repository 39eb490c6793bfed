import { defineConfig, type Plugin } from "vite";

/**
 * The names of the built files. The Rust binary embeds the files by name, so the names have no
 * hashes, and the script is one file.
 */
const names = {
  entryFileNames: "app.js",
  assetFileNames: ({ names }: { names: string[] }) =>
    names.some((name) => name.endsWith(".css")) ? "style.css" : "[name][extname]",
};

/**
 * Removes the `crossorigin` that Vite writes into tags. A static host may not send CORS headers.
 */
const plain: Plugin = {
  name: "plain-tags",
  transformIndexHtml: { order: "post", handler: (html) => html.replaceAll(" crossorigin", "") },
};

const server = process.env.DRIFTLESS ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "./",
  plugins: [plain],
  // The SDK finds its `.wasm` files relative to its module, so Vite must not move the module into
  // a bundle of dependencies.
  optimizeDeps: { exclude: ["@driftless/client"] },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    rollupOptions: { output: { ...names, codeSplitting: false } },
  },
  worker: {
    format: "es",
    rollupOptions: { output: { ...names, entryFileNames: "bots.js", codeSplitting: false } },
  },
  server: {
    fs: { allow: [".."] },
    proxy: { "/v1": { target: server, ws: true } },
  },
  preview: { proxy: { "/v1": { target: server, ws: true } } },
});
