// The same from a shell: commands for the room that is shown.
import { base, byId, copy, make } from "./dom";

/** The commands, with a title each. They go on from place, the room's cursor, where it is known. */
export function commands(name: string, cursor: string | undefined): [string, string][] {
  // A room's address can be in single quotes as it is, but for what the server's own address may have in it.
  const url = base.replace(/'/g, "%27") + "/rooms/" + name;
  // The place alone is a cursor of one room.
  const from = cursor && cursor.startsWith(name + "=") ? "cursor=" + cursor.slice(name.length + 1) : "last=10";
  return [
    ["Read on, as a stream", `curl -N -H 'Accept: text/event-stream' '${url}?${from}'`],
    ["Read on, by one long-poll", `curl '${url}?${from}&wait=20'`],
    ["The newest messages", `curl '${url}/history?limit=10'`],
    ["Publish", `curl -d '{"text":"hello","name":"curl"}' '${url}'`],
  ];
}

let shown = () => {};
let timer = 0;

/** Shows the commands for a room; place tells where its reader is. */
export function shell(name: string, place: () => string | undefined) {
  const list = byId("shell");
  list.textContent = "";
  const codes = commands(name, place()).map(([title, line], i) => {
    const dt = make("dt", "", title);
    const dd = make("dd");
    const code = make("code", "", line);
    const button = make("button", "", "Copy");
    button.type = "button";
    button.setAttribute("aria-label", "Copy: " + title);
    button.addEventListener("click", async () => {
      code.textContent = commands(name, place())[i][1];
      const done = await copy(code.textContent, code);
      button.textContent = done ? "Copied" : "Select and copy";
      byId("copied").textContent = done ? "Copied: " + title : "It cannot be copied from here; select it.";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    dt.append(button);
    dd.append(code);
    list.append(dt, dd);
    return code;
  });
  shown = () =>
    commands(name, place()).forEach(([, line], i) => {
      // What somebody is selecting stays.
      const selection = getSelection();
      if (codes[i].textContent != line && !(selection && !selection.isCollapsed && selection.containsNode(codes[i], true))) codes[i].textContent = line;
    });
}

/** Brings the commands up to where the reader is, soon. */
export function moved() {
  if (!timer)
    timer = setTimeout(() => {
      timer = 0;
      shown();
    }, 300);
}
