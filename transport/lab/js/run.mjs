// One run of the browser client, the same in Node and in a browser: reads a
// room, publishes into it, and says what happened.
//
// connect is the client's; task is what to do; go waits for the lab's word;
// say tells the lab something at once.
export async function run(connect, task, go, say) {
  const began = {}; // by what
  const now = () => performance.now();
  const report = { arrivals: [], acks: [], gaps: 0, states: [], failures: [], first: -1 };
  globalThis.labReport = report; // for the lab to look at where no report comes
  await go("start");
  began.connect = now();
  const client = connect(task.url, task.transports ? { transports: task.transports } : {});
  client.on("state", (s) => { report.states.push(`${Math.round(now() - began.connect)} ms: ${s.state}, ${s.transport}, ${s.reason}`); });
  const room = client.room(task.room, { from: "start" });
  room.on("gap", () => { report.gaps++; });
  const done = new Promise((resolve) => {
    const expected = task.messages * 2 + task.late + task.traffic;
    room.on("message", (m) => {
      if (report.first < 0) { report.first = now() - began.connect; say({ what: "first", at: report.first }); }
      report.arrivals.push({ data: m.data, offset: m.offset, at: now() - began.connect });
      if (task.late && m.data.down >= task.messages) say({ what: "arrival", data: m.data });
      if (report.arrivals.length >= expected) resolve();
    });
  });
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const within = (ms, promise) => {
    let timer;
    return Promise.race([promise, new Promise((resolve) => { timer = setTimeout(resolve, ms); })]).finally(() => clearTimeout(timer));
  };
  const publish = async (data) => {
    try {
      const r = await room.publish(data);
      report.acks.push({ data, offset: r.offset, duplicate: !!r.duplicate });
    } catch (e) {
      report.failures.push(`publish of ${JSON.stringify(data)}: ${e && e.code} ${e && e.message}`);
    }
  };
  const publishing = [];
  for (let i = 0; i < task.messages; i++) {
    publishing.push(publish({ up: i }));
    if (task.every) await pause(task.every);
    if (task.rest && i == task.messages / 2) await pause(task.rest);
  }
  await within(task.patience, Promise.all(publishing));
  // Gives it time to climb.
  const settle = async () => {
    const until = now() + task.settle;
    while (now() < until && task.reach && !task.reach.includes(client.transport)) await pause(50);
    return String(client.transport);
  };
  if (task.late) {
    report.transport = await settle();
    // The silence is the lab's; traffic is ours to add.
    await go("silence");
    for (let i = 0; i < task.traffic; i++) publishing.push(publish({ up: task.messages + i }));
  }
  await within(task.patience, Promise.all([done, ...publishing]));
  if (!task.late) report.transport = await settle();
  else if (task.back) report.back = await settle();
  report.state = String(client.state);
  report.took = now() - began.connect;
  client.close();
  return report;
}
