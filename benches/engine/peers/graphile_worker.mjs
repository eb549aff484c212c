// graphile-worker: a large local queue and batched completion, the fastest of the tunings that were tried (queues of 500 to
// 5000, 24 and 100 at a time, completions without delay and after 5 ms).
import { Logger, makeWorkerUtils, run, runMigrations } from 'graphile-worker';
import { bulk, jobs, latency, percentiles, pool as connect, rate, report, singly, sleep, steadily, test, vacuum } from './subject.mjs';

const logger = new Logger(() => () => {});
const pool = connect(12);
pool.on('error', error => console.error(error.message));
await runMigrations({ pgPool: pool, logger });
const utils = await makeWorkerUtils({ pgPool: pool, logger });
const one = payload => utils.addJob('bench', payload);
const many = payloads => utils.addJobs(payloads.map(payload => ({ identifier: 'bench', payload })));

function work(handle, throughput) {
  const batched = { localQueue: { size: 5000 }, completeJobBatchDelay: 5, failJobBatchDelay: 5 };
  const worker = { concurrentJobs: 24, pollInterval: 2000, logger, ...(throughput ? batched : {}) };
  return run({ pgPool: pool, noHandleSignals: true, logger, preset: { worker }, taskList: { bench: handle } });
}

if (test === 'enqueue') {
  report({ per_s: await singly(one) });
} else if (test === 'bulk') {
  report({ per_s: await rate(jobs, () => bulk(jobs, many)) });
} else if (test === 'drain') {
  await bulk(jobs, many);
  await vacuum(pool);
  let done = 0;
  report({
    per_s: await rate(jobs, async () => {
      await work(() => { done += 1; }, true);
      while (done < jobs) await sleep(2);
      while ((await pool.query('select exists (select from graphile_worker._private_jobs) as left')).rows[0].left) await sleep(5);
    }),
  });
} else if (test === 'pickup') {
  const waited = [];
  await work(payload => { waited.push(latency(payload)); }, false);
  await sleep(1000);
  await steadily(one);
  await sleep(1000);
  report(percentiles(waited));
}
