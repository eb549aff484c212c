// DBOS: workflows started directly for throughput, through a queue for single sends and pick-up.
import { DBOS } from '@dbos-inc/dbos-sdk';
import { jobs, latency, payload, percentiles, rate, report, singly, sleep, steadily, test, url } from './subject.mjs';

const AT_A_TIME = 50;
const waited = [];
const step = value => DBOS.runStep(async () => ({ ...value }), { name: 'step' });
const three = DBOS.registerWorkflow(async input => step(await step(await step(input))), { name: 'three' });
const one = DBOS.registerWorkflow(async input => { waited.push(latency(input)); }, { name: 'one' });
DBOS.setConfig({ name: 'bench', systemDatabaseUrl: url, systemDatabasePoolSize: 16, logLevel: 'error', runAdminServer: false });
await DBOS.launch();
await DBOS.registerQueue('bench');
const queued = input => DBOS.startWorkflow(one, { queueName: 'bench' })(input);

if (test === 'enqueue') {
  report({ per_s: await singly(queued) });
} else if (test === 'workflows') {
  let next = 0;
  const worker = async () => {
    while (next < jobs) {
      next += 1;
      await (await DBOS.startWorkflow(three)(payload(next))).getResult();
    }
  };
  report({ per_s: await rate(jobs, () => Promise.all(Array.from({ length: AT_A_TIME }, worker))) });
} else if (test === 'pickup') {
  await steadily(queued);
  await sleep(3000);
  report(percentiles(waited));
}
