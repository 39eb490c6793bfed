import { defineConfig, type Plugin } from "vite";

/** The Rust binary embeds the build by name: no hashes, no chunks. */
const names = {
  entryFileNames: "app.js",
  assetFileNames: ({ names }: { names: string[] }) => (names.some((name) => name.endsWith(".css")) ? "style.css" : "[name][extname]"),
};

/** The tag that Vite writes asks for CORS, and a page that is opened from another host's folder need not have it. */
const plain: Plugin = {
  name: "plain-tags",
  transformIndexHtml: { order: "post", handler: (html) => html.replaceAll(" crossorigin", "") },
};

const server = process.env.DRIFTLESS ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "./",
  plugins: [plain],
  // Its `.wasm` files are found from where the module is.
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
