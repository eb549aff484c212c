// What every peer of this folder measures the same way. Each prints one JSON object of named figures and ends.
import pg from 'pg';

export const url = process.env.DATABASE_URL;
export const jobs = Number(process.env.JOBS);
export const seconds = Number(process.env.SECONDS);
export const test = process.argv[2];
export const CLIENTS = 8;
export const BULK = 1000;

const now = () => performance.timeOrigin + performance.now();
export const sleep = ms => new Promise(done => setTimeout(done, ms));
export const payload = n => ({ n, sent_us: Math.round(now() * 1000), note: 'x'.repeat(150) });
export const latency = payload => now() - payload.sent_us / 1000;

export function report(figures) {
  console.log(JSON.stringify(figures));
  process.exit(0);
}

export async function rate(count, work) {
  const began = performance.now();
  await work();
  return count / ((performance.now() - began) / 1000);
}

// Eight clients that send one job after the other for some seconds.
export async function singly(send) {
  const until = performance.now() + seconds * 1000;
  const began = performance.now();
  let sent = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (performance.now() < until) {
      await send(payload(sent));
      sent += 1;
    }
  }));
  return sent / ((performance.now() - began) / 1000);
}

export async function bulk(count, insert) {
  for (let n = 0; n < count; n += BULK) {
    await insert(Array.from({ length: BULK }, (_, k) => payload(n + k)));
  }
}

// A hundred a second.
export async function steadily(send) {
  const began = performance.now();
  for (let n = 0; n < seconds * 100; n += 1) {
    const wait = began + n * 10 - performance.now();
    if (wait > 0) await sleep(wait);
    await send(payload(n));
  }
}

export function percentiles(milliseconds) {
  const sorted = [...milliseconds].sort((a, b) => a - b);
  const at = share => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { p50_ms: at(0.5), p99_ms: at(0.99) };
}

// The same for all before a drain.
export async function vacuum(pool) {
  await pool.query('vacuum analyze');
  await pool.query('checkpoint');
}

export const pool = max => new pg.Pool({ connectionString: url, max });
