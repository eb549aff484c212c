// pg-boss: fetch and complete in batches, its fastest public way, with the fastest of the tunings that were tried (one, two and
// four at a time, 500 and 2000 jobs each). work() polls, at most every half second.
import PgBoss from 'pg-boss';
import { bulk, jobs, latency, percentiles, pool as connect, rate, report, singly, sleep, steadily, test, url, vacuum } from './subject.mjs';

const FETCHERS = 2;
const BATCH = 2000;
const boss = new PgBoss({ connectionString: url, max: 12 });
boss.on('error', error => console.error(error.message));
await boss.start();
await boss.createQueue('bench');
const pool = connect(1);
const one = payload => boss.send('bench', payload);
const many = payloads => boss.insert(payloads.map(data => ({ name: 'bench', data })));

async function fetchAll() {
  for (;;) {
    const batch = await boss.fetch('bench', { batchSize: BATCH });
    if (batch.length === 0) return;
    await boss.complete('bench', batch.map(job => job.id));
  }
}

async function finishMillion() {
  await bulk(1000, many);
  await pool.query("update pgboss.job set state = 'completed', started_on = now(), completed_on = now()");
  await pool.query(`insert into pgboss.job (name, data, state, created_on, started_on, completed_on)
    select 'bench', data, 'completed', now(), now(), now() from pgboss.job, generate_series(1, 999) where name = 'bench'`);
}

if (test === 'enqueue') {
  report({ per_s: await singly(one) });
} else if (test === 'bulk') {
  report({ per_s: await rate(jobs, () => bulk(jobs, many)) });
} else if (test === 'drain' || test === 'drain_behind_million') {
  if (test === 'drain_behind_million') await finishMillion();
  await bulk(jobs, many);
  await vacuum(pool);
  report({ per_s: await rate(jobs, () => Promise.all(Array.from({ length: FETCHERS }, fetchAll))) });
} else if (test === 'pickup') {
  const waited = [];
  await boss.work('bench', { pollingIntervalSeconds: 0.5, batchSize: 100 }, async batch => {
    for (const job of batch) waited.push(latency(job.data));
  });
  await sleep(1000);
  await steadily(one);
  await sleep(1500);
  report(percentiles(waited));
}
