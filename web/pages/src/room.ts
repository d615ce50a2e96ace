// The page "/": a room to try.
import { connect } from "culvert";
import type { Client, Gap, Message, Room, StateEvent, Transport } from "../../src/api";
import { base, byId, make, moment } from "./dom";
import { moved, shell } from "./shell";
import { names, reasonWords, stateWords } from "./words";

const shown = 400; // messages kept on the page
const validRoom = /^(?!\.\.?$)[A-Za-z0-9._~:@-]{1,200}$/;

const messages = byId("messages"); // what scrolls
const lines = byId("lines");
const me = byId<HTMLInputElement>("me");
const text = byId<HTMLInputElement>("text");
const published = byId("published");

let client: Client;
let room: Room | undefined;
let waiting = 0; // publishes
const stops: (() => void)[] = [];
const here = new Set<string>();
const former = new Set<string>(); // names that this window had before, which are present for a few seconds yet

let chance = Math.random().toString(36).slice(2, 6);
me.value = remembered() || "guest-" + chance;

function chosen(): Transport[] {
  const value = document.querySelector<HTMLInputElement>("input[name=transport]:checked")!.value;
  return value ? [value as Transport] : [];
}

/** Makes the client, which is present under the name that is in the field. */
function join() {
  // A client's name is ASCII. What has no such letters is a guest to others; messages carry the name as it is.
  const plain = me.value.normalize("NFD").replace(/[\u0300-\u036f]/g, "");
  const name = plain.replace(/[^A-Za-z0-9._@-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40) || "guest";
  client = connect(base, { client: name + "~" + chance });
  if (chosen().length) client.use(chosen());
  client.on("state", showState);
}

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
  if (!room || waiting) return; // publishes under way are the old name's
  const cursor = room.cursor;
  leave();
  former.add(client.id);
  client.close();
  chance = Math.random().toString(36).slice(2, 6);
  join();
  read(cursor);
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
  lines.textContent = published.textContent = "";
  byId("newer").hidden = true;
  const name = wanted();
  const valid = validRoom.test(name);
  notice(valid ? "" : "A room's name has 1 to 200 letters, digits or . _ ~ : @ - and no others. This address names another one.");
  byId("name").textContent = name;
  byId("title").className = name.length > 32 ? "long" : "";
  document.title = name + " – Culvert";
  byId<HTMLAnchorElement>("second").href = "#" + encodeURIComponent(name);
  text.disabled = byId<HTMLButtonElement>("send").disabled = !valid;
  byId("shell-section").hidden = !valid;
  if (!valid) return;
  lines.append(make("li", "empty", "No message yet. What you publish appears here, and in every other window with this room."));
  // Nobody wants to hear the history of a room read out.
  messages.setAttribute("aria-live", "off");
  setTimeout(() => messages.setAttribute("aria-live", "polite"), 2000);
  shell(name, () => room && room.cursor);
  read();
}

/** Reads the room that is named, from its last messages or from a cursor on. */
function read(cursor?: string) {
  const entered = (room = client.room(wanted(), { cursor, last: 50, presence: true }));
  stops.push(
    entered.on("message", showMessage),
    entered.on("gap", showGap),
    entered.on("presence", (event) => {
      if (event.event == "join") here.add(event.client);
      else here.delete(event.client);
      showHere(event.count);
    }),
  );
}

function leave() {
  if (room) room.close();
  room = undefined;
  for (const stop of stops.splice(0)) stop();
  here.clear();
  showHere(0);
}

function notice(words: string) {
  const element = byId("notice");
  element.textContent = words;
  element.hidden = !words;
}

addEventListener("hashchange", enter);

// The address is the room's: a link to a place in the page would lead to another room.
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  text.focus();
});

byId<HTMLFormElement>("go").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = byId<HTMLInputElement>("room");
  const name = input.value.trim();
  if (!validRoom.test(name)) return notice("A room's name has 1 to 200 letters, digits or . _ ~ : @ - and no others.");
  input.value = "";
  location.hash = encodeURIComponent(name);
  text.focus();
});

me.addEventListener("keydown", (event) => {
  if (event.key != "Enter" || text.value.trim()) return;
  event.preventDefault(); // there is nothing to publish yet
  text.focus();
});

byId("go").addEventListener("keydown", (event) => {
  if (event.key != "Escape") return;
  byId<HTMLInputElement>("room").value = "";
  notice("");
  text.focus();
});

// Messages

const atEnd = () => messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;

function toEnd() {
  messages.scrollTop = messages.scrollHeight;
}

function add(line: HTMLLIElement) {
  const follow = atEnd();
  const empty = lines.querySelector(".empty");
  if (empty) empty.remove();
  lines.append(line);
  if (follow) {
    while (lines.childElementCount > shown) lines.firstElementChild!.remove();
    toEnd();
  } else {
    // Whoever reads further up is not moved on, as long as that is bearable.
    while (lines.childElementCount > 5 * shown) lines.firstElementChild!.remove();
    byId("newer").hidden = false;
  }
  moved();
}

messages.addEventListener("scroll", () => {
  if (atEnd()) byId("newer").hidden = true;
});

byId("newer").addEventListener("click", () => {
  toEnd();
  messages.focus();
});

function showMessage(message: Message) {
  const line = make("li");
  const body = make("span", "body");
  body.dir = "auto"; // the text decides; the name before it is in a bdi, which does not count
  const data = message.data;
  if (data && typeof data == "object" && typeof data.text == "string") {
    const who = typeof data.name == "string" ? data.name : message.from || "";
    if (who) {
      const name = make("b", who == me.value ? "mine" : "");
      name.append(make("bdi", "", who));
      body.append(name, " ");
    }
    body.append(data.text);
  } else if (typeof data == "string") body.append(data);
  else body.append(make("code", "", JSON.stringify(data)));
  const time = moment(message.time, false);
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

function tellPublished(words: string) {
  published.textContent = waiting ? (waiting == 1 ? "Publishing…" : waiting + " messages wait to be published…") : words;
}

// Who is here

function showHere(count: number) {
  const list = byId("here");
  list.textContent = "";
  count -= Array.from(former).filter((name) => here.has(name)).length;
  byId("count").textContent = count ? String(count) : "";
  const sorted = Array.from(here).filter((name) => !former.has(name)).sort((a, b) => (a == client.id ? -1 : b == client.id ? 1 : a < b ? -1 : 1));
  for (const name of sorted.slice(0, 40)) {
    const mine = name == client.id;
    list.append(make("li", mine ? "you" : "", name.split("~")[0] + (mine ? " (this window)" : "")));
  }
  if (count > 40) list.append(make("li", "", "and " + (count - 40) + " more"));
}

/** Presence events tell of changes; who was there before is asked for. */
async function askHere() {
  const asked = room;
  if (!asked) return;
  try {
    const told = await asked.presence(40);
    if (asked != room) return;
    here.clear();
    for (const member of told.members) here.add(member.client);
    showHere(told.count);
  } catch {
    // The next connection asks again.
  }
}

// The connection

function showState(event: StateEvent) {
  const words = stateWords(event);
  byId("state").textContent = words;
  const reason = reasonWords(event, chosen().length > 0);
  byId("reason").textContent = reason;
  byId("chip").textContent = event.state == "connected" ? names[event.transport || ""] : words;
  byId("chip").className = "chip " + event.state;
  byId("dot").className = "dot " + event.state;
  const line = make("li");
  line.append(moment(Date.now()), words, make("span", "quiet", ": " + reason));
  const log = byId("log");
  log.prepend(line);
  while (log.childElementCount > 60) log.lastElementChild!.remove();
  if (event.state == "connected") askHere();
}

byId("transports").addEventListener("change", () => client.use(chosen()));

byId("cut").addEventListener("click", () => client.reconnect());

// The link alone opens a tab; a window beside this one shows more.
byId("second").addEventListener("click", (event) => {
  const width = Math.min(Math.round(screen.availWidth / 2), 760);
  if (screen.availWidth < 900) return;
  const opened = open(byId<HTMLAnchorElement>("second").href, "", `popup,width=${width},height=${Math.min(screen.availHeight, 900)},left=${screen.availWidth - width},top=0`);
  if (opened) event.preventDefault();
});

addEventListener("pagehide", (event) => {
  if (!event.persisted) client.close();
});

join();
enter();
