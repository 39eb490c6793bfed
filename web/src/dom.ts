// Access to the elements of index.html.

export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element #${id}`);
  return element;
}

/** Runs `action` when the button is pressed. */
export function onClick(id: string, action: () => void): void {
  byId(id).addEventListener("click", action);
}

/** Makes an element with these properties. */
export function create<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
): HTMLElementTagNameMap[K] {
  return Object.assign(document.createElement(tag), properties);
}
