/** The process of one stage of what `dfs bench --limits` measures: says its port, and serves until its input ends. */
import { type Stage, startStage } from '../io/limit-stages.js';

process.stdin.once('end', () => process.exit()).resume();
const stage = JSON.parse(process.argv[2] ?? '') as Stage;
process.stdout.write(`${await startStage(stage)}\n`);
