// What is declared is what is there, and pages can use it as written here. Only the type checker reads this.
import * as built from "../src/index";
import type * as declared from "../dist/culvert";

export const same: typeof declared.connect = built.connect;
export const error: declared.CulvertError = new built.CulvertError("network", "");

export async function page(culvert: typeof declared) {
  const client = culvert.connect("https://example.org", { token: async () => "t", transports: ["websocket", "poll"] });
  const stop = client.on("state", (e) => console.log(e.state, e.transport, e.reason, e.retryIn));
  const room = client.room<{ text: string }>("lobby", { last: 10, presence: true });
  room.on("message", (m) => console.log(m.data.text.length, m.offset, m.from));
  room.on("gap", (g) => console.log(g.missed));
  room.on("presence", (p) => console.log(p.event, p.count));
  const { offset, duplicate } = await room.publish({ text: "hello" }, { key: "k" });
  for await (const m of room) if (m.type == "message") console.log(m.data.text, offset, duplicate);
  const { messages, more } = await room.history({ limit: 5 });
  const report = await client.diagnose((f) => console.log(f.test, f.ok));
  console.log(messages.length, more, report.text, (await room.presence()).members);
  stop();
  client.close();
}
