// Pictures from outside of the page: dropped on the page, or pasted.

import type { Toolbar } from "./toolbar.js";

/** Makes a stamp of each picture that the user drops or pastes. */
export function listenForImages(toolbar: Toolbar): void {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const file = imageOf(event.dataTransfer);
    if (file) void toolbar.image(file, file.name);
  });
  addEventListener("paste", (event) => {
    const file = imageOf(event.clipboardData);
    if (file) void toolbar.image(file, "the picture");
  });
}

function imageOf(data: DataTransfer | null): File | undefined {
  return [...(data?.files ?? [])].find((file) => file.type.startsWith("image/"));
}
