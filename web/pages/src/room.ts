// The page "/": a room to try.
import { connect } from "culvert";
import type { Client, Gap, Message, Room, StateEvent, Transport } from "../../src/api";
import { base, byId, clock, copy, make } from "./dom";

const shown = 400; // messages kept on the page
const names: { [transport: string]: string } = { websocket: "WebSocket", sse: "SSE", poll: "long-poll" };
const validRoom = /^(?!\.\.?$)[A-Za-z0-9._~:@-]{1,200}$/;

const messages = byId<HTMLOListElement>("messages");
const me = byId<HTMLInputElement>("me");
const text = byId<HTMLInputElement>("text");
const published = byId("published");

let room: Room | undefined;
const stops: (() => void)[] = [];
const here = new Map<string, true>();

const chance = Math.random().toString(36).slice(2, 6);
me.value = remembered() || "guest-" + chance;
const client: Client = connect(base, { client: (me.value.replace(/[^A-Za-z0-9._@-]/g, "-").slice(0, 40) || "guest") + "~" + chance });

function remembered(): string {
  try {
    return sessionStorage.getItem("culvert-name") || "";
  } catch {
    return ""; // storage is blocked
  }
}

me.addEventListener("change", () => {
  try {
    sessionStorage.setItem("culvert-name", me.value);
  } catch {
    // It is forgotten with the page.
  }
});

// The room is named in the address, so that a link or a bookmark leads to it.

function wanted(): string {
  const name = location.hash.slice(1) || new URLSearchParams(location.search).get("room") || "lobby";
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function enter() {
  leave();
  const name = wanted();
  const valid = validRoom.test(name);
  notice(valid ? "" : "A room's name has 1 to 200 letters, digits or . _ ~ : @ - and no others. This address names another one.");
  byId("name").textContent = name;
  document.title = name + " – Culvert";
  byId<HTMLAnchorElement>("second").href = "#" + encodeURIComponent(name);
  text.disabled = !valid;
  if (!valid) return;
  messages.append(make("li", "empty", "No message yet. What you publish appears here, and in every other window with this room."));
  shell(name);
  const entered = (room = client.room(name, { last: 50, presence: true }));
  stops.push(
    entered.on("message", showMessage),
    entered.on("gap", showGap),
    entered.on("presence", (event) => {
      if (event.event == "join") here.set(event.client, true);
      else here.delete(event.client);
      showHere(event.count);
    }),
  );
}

function leave() {
  if (room) room.close();
  room = undefined;
  for (const stop of stops.splice(0)) stop();
  messages.textContent = published.textContent = "";
  here.clear();
  showHere(0);
}

function notice(words: string) {
  const element = byId("notice");
  element.textContent = words;
  element.hidden = !words;
}

addEventListener("hashchange", enter);

byId<HTMLFormElement>("go").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = byId<HTMLInputElement>("room");
  const name = input.value.trim();
  if (!validRoom.test(name)) return notice("A room's name has 1 to 200 letters, digits or . _ ~ : @ - and no others.");
  input.value = "";
  location.hash = encodeURIComponent(name);
});

// Messages

function add(line: HTMLLIElement) {
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;
  const empty = messages.querySelector(".empty");
  if (empty) empty.remove();
  messages.append(line);
  while (messages.childElementCount > shown) messages.firstElementChild!.remove();
  if (atEnd) messages.scrollTop = messages.scrollHeight;
}

function showMessage(message: Message) {
  const line = make("li");
  const body = make("span", "body");
  const data = message.data;
  if (data && typeof data == "object" && typeof data.text == "string") {
    const who = typeof data.name == "string" ? data.name : message.from || "";
    if (who) body.append(make("b", who == me.value ? "mine" : "", who), " ");
    body.append(data.text);
  } else if (typeof data == "string") body.append(data);
  else body.append(make("code", "", JSON.stringify(data)));
  const time = make("time", "", clock(message.time, false));
  time.dateTime = new Date(message.time).toISOString();
  line.append(make("span", "offset", message.offset ? String(message.offset) : "–"), body, time);
  add(line);
}

function showGap(gap: Gap) {
  const reasons: { [reason: string]: string } = {
    evicted: "they were removed because there were too many or they were too old",
    lost: "the server has lost its history",
    fork: "the server's history was replaced by another one",
  };
  const missed = gap.missed ? (gap.missed == 1 ? "1 message is" : gap.missed + " messages are") : "messages may be";
  add(make("li", "gap", "Gap: " + missed + " missing here; " + (reasons[gap.reason] || gap.reason) + "."));
}

byId<HTMLFormElement>("publish").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = text.value;
  if (!room || !words.trim()) return;
  text.value = "";
  text.focus();
  waiting++;
  tellPublished("");
  room.publish({ text: words, name: me.value || undefined }).then(
    (result) => {
      waiting--;
      tellPublished("Published as number " + result.offset + (result.duplicate ? ", with a repeated request" : "") + ".");
    },
    (error: Error) => {
      waiting--;
      tellPublished("Not published: " + error.message);
    },
  );
});

let waiting = 0;

function tellPublished(words: string) {
  published.textContent = waiting ? (waiting == 1 ? "Publishing…" : waiting + " messages wait to be published…") : words;
}

// Who is here

function showHere(count: number) {
  const list = byId("here");
  list.textContent = "";
  byId("count").textContent = count ? String(count) : "";
  const sorted = Array.from(here.keys()).sort((a, b) => (a == client.id ? -1 : b == client.id ? 1 : a < b ? -1 : 1));
  for (const name of sorted.slice(0, 40)) {
    const mine = name == client.id;
    list.append(make("li", mine ? "you" : "", name.split("~")[0] + (mine ? " (this window)" : "")));
  }
}

/** Presence events tell of changes; who was there before is asked for. */
async function askHere() {
  const asked = room;
  if (!asked) return;
  try {
    const told = await asked.presence(40);
    if (asked != room) return;
    here.clear();
    for (const member of told.members) here.set(member.client, true);
    showHere(told.count);
  } catch {
    // The next connection asks again.
  }
}

// The connection

function stateWords(event: { state: string; transport: Transport | null; retryIn?: number }): string {
  switch (event.state) {
    case "connected":
      return "Connected over " + names[event.transport || ""];
    case "waiting":
      return "Out of reach" + (event.retryIn ? ", next attempt in " + (event.retryIn / 1000).toFixed(1) + " s" : "");
    case "connecting":
      return "Connecting";
    case "failed":
      return "Refused";
    case "closed":
      return "Closed";
  }
  return "Not connected";
}

function showState(event: StateEvent) {
  const words = stateWords(event);
  byId("state").textContent = words;
  byId("reason").textContent = event.reason;
  byId("dot").className = "dot " + event.state;
  const line = make("li");
  const now = Date.now();
  const time = make("time", "", clock(now));
  time.dateTime = new Date(now).toISOString();
  line.append(time, words, make("span", "quiet", ": " + event.reason));
  const log = byId("log");
  log.prepend(line);
  while (log.childElementCount > 60) log.lastElementChild!.remove();
  if (event.state == "connected") askHere();
}

client.on("state", showState);

byId("transports").addEventListener("change", () => {
  const chosen = document.querySelector<HTMLInputElement>("input[name=transport]:checked")!.value;
  client.use(chosen ? [chosen as Transport] : []);
});

byId("cut").addEventListener("click", () => client.reconnect());

// The link alone opens a tab; a window beside this one shows more.
byId("second").addEventListener("click", (event) => {
  const width = Math.min(Math.round(screen.availWidth / 2), 760);
  if (screen.availWidth < 900) return;
  const opened = open(byId<HTMLAnchorElement>("second").href, "", `popup,width=${width},height=${Math.min(screen.availHeight, 900)},left=${screen.availWidth - width},top=0`);
  if (opened) event.preventDefault();
});

// The shell

function shell(name: string) {
  const url = base + "/rooms/" + name;
  const quoted = "'" + url + "'";
  const lines: [string, string][] = [
    ["Read, as a stream", `curl -N -H 'Accept: text/event-stream' ${quoted}`],
    ["Read, by one long-poll", `curl '${url}?last=1&wait=20'`],
    ["Publish", `curl -d '{"text":"hello","name":"curl"}' ${quoted}`],
  ];
  const list = byId("shell");
  list.textContent = "";
  for (const [title, line] of lines) {
    const dt = make("dt", "", title);
    const dd = make("dd");
    const code = make("code", "", line);
    const button = make("button", "", "Copy");
    button.type = "button";
    button.setAttribute("aria-label", "Copy: " + title);
    button.addEventListener("click", async () => {
      button.textContent = (await copy(line, code)) ? "Copied" : "Select and copy";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    dt.append(button);
    dd.append(code);
    list.append(dt, dd);
  }
}

addEventListener("pagehide", (event) => {
  if (!event.persisted) client.close();
});

enter();
