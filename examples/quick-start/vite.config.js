// Before version 8, Vite's dev mode bundles packages into another folder, where they do not find
// their `.wasm` files.
export default { optimizeDeps: { exclude: ["@driftless/client"] } };
