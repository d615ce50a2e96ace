await import("/server.js");
await import("/run.js");
const { connect } = await import(self.server + "/culvert.js");
self.run(connect, "module worker").then(self.tell);
