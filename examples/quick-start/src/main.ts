import { connect } from "@driftless/client";

const { server = "ws://127.0.0.1:8080", token = "" } = Object.fromEntries(new URLSearchParams(location.search));
const world = await connect({ ingest: `${server}/v1/ingest`, gateway: `${server}/v1/gateway`, token });
const chunk = await world.track("canvas/0/0").live();
const colors = world.colors("canvas");
const [width, height] = chunk.grid.size;
const canvas = Object.assign(document.querySelector("canvas")!, { width, height });
const context = canvas.getContext("2d")!;
const paint = () =>
  chunk.grid.cells.forEach((value, i) => {
    context.fillStyle = colors[value] ?? "black";
    context.fillRect(i % width, Math.floor(i / width), 1, 1);
  });
chunk.on("change", paint);
paint();
canvas.onclick = async ({ offsetX, offsetY }) => {
  const pending = chunk.grid.set({ x: Math.floor(offsetX / 4), y: Math.floor(offsetY / 4), value: 9 });
  document.querySelector("output")!.value = (await pending.outcome).kind;
};
