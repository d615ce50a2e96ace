importScripts("/server.js", "/run.js");
importScripts(self.server + "/culvert.global.js");
self.run(culvert.connect, "classic worker").then(self.tell);
