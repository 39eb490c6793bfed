// Vite before version 8 moves what it bundles for its dev mode away from the `.wasm` files beside it.
export default { optimizeDeps: { exclude: ["@driftless/client"] } };
