/**
 * A process that works on a folder until it is killed: `node crash-child.js FOLDER SCRIPT`. A line of JSON a report.
 */
import { writeSync } from 'node:fs';
import { runScript, type Script } from './crash-script.js';
import { openRealStores } from './real-stores.js';

const [folder = '', script = '{}'] = process.argv.slice(2);
const { stores } = await openRealStores(folder);
await runScript(stores, JSON.parse(script) as Script, (report) => void writeSync(1, `${JSON.stringify(report)}\n`));
