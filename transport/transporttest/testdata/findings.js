// What pages of this test share: behind the # the addresses, what is agreed on
// of the extensions of a WebSocket and the version of HTTP; a list of checks that
// run side by side, and the report.
'use strict';
const [base, cuttable, reportTo, extension, protocol] = location.hash.slice(1).split(',');
const wsBase = base.replace('http', 'ws');
const found = { Done: [], Wrong: [] };

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function equal(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  if (a !== b) throw new Error(`${what}: got ${a}, want ${b}`);
}

// inbox collects what comes, for code that waits for one thing after another.
function inbox() {
  const waiting = [], queue = [];
  return {
    put(x) { if (waiting.length) waiting.shift()(x); else queue.push(x); },
    next(what) {
      if (queue.length) return Promise.resolve(queue.shift());
      return new Promise((resolve, reject) => {
        waiting.push(resolve);
        setTimeout(() => reject(new Error(`${what} did not come`)), 40_000);
      });
    },
  };
}

async function publish(room, body, options = {}) {
  const res = await fetch(`${base}/rooms/${room}`, { method: 'POST', body, ...options });
  return { status: res.status, ...(await res.json()) };
}

async function runChecks(checks) {
  await Promise.all(Object.entries(checks).map(async ([name, check]) => {
    try {
      await check();
      found.Done.push(name);
    } catch (error) {
      found.Wrong.push(`${name}: ${error.message || error}`);
    }
  }));
  await fetch(`${reportTo}/report`, { method: 'POST', mode: 'no-cors', body: JSON.stringify(found) });
}
