// Reads a room and publishes 20 numbers into it; resolves with what came. The same in pages and workers.
self.run = function (connect, name, transports) {
  return new Promise((resolve) => {
    const result = { Name: name, Fault: "", Got: [], Transport: "" };
    const client = connect(self.server, { transports });
    const end = (fault) => {
      result.Fault = fault;
      result.Transport = String(client.transport);
      client.close();
      resolve(result);
    };
    setTimeout(() => end("not in 60 s: " + client.state + ", " + client.reason), 60e3);
    const room = client.room(self.browser + name.replace(/[^a-z]/g, ""));
    client.on("state", (e) => {
      if (e.state != "connected" || (transports && e.transport != transports[0]) || (!transports && e.transport != "websocket") || result.began) return;
      result.began = true;
      for (let i = 0; i < 20; i++) room.publish(i).catch((e) => end(e.code + ": " + e.message));
    });
    room.on("message", (m) => {
      result.Got.push(m.data);
      if (result.Got.length == 20) setTimeout(() => end(""), 200);
    });
  });
};
self.tell = (result) => fetch("/result", { method: "POST", body: JSON.stringify(result) });
for (const type of ["error", "unhandledrejection"]) {
  self.addEventListener(type, (e) => self.tell({ Name: "?", Fault: String(e.message || e.reason) }));
}
