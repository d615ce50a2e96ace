// The little that both pages need of the document.

/** The element of this id, which the page's HTML has. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  return document.getElementById(id) as E;
}

/** A new element with a class and a text; both may be empty. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, className = "", text = ""): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** The server's address: the folder that the page is in, without a slash at its end. */
export const base = new URL(".", location.href.split(/[?#]/)[0]).href.replace(/\/$/, "");

/** Copies a text; away from HTTPS and localhost the old way is the only one. */
export async function copy(text: string, source: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const selection = getSelection();
    if (!selection) return false;
    selection.selectAllChildren(source);
    return document.execCommand("copy");
  }
}

/** A time as people read it, with the date where that is not today's. */
export function moment(time: number, seconds = true): HTMLTimeElement {
  const at = new Date(time);
  let text = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined, hour12: false });
  if (at.toDateString() != new Date().toDateString()) text = at.toLocaleDateString([], { day: "numeric", month: "short" }) + " " + text;
  const element = make("time", "", text);
  element.dateTime = at.toISOString();
  element.title = at.toLocaleString();
  return element;
}
