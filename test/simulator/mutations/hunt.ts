/**
 * A process of its own in a copy of the build: runs seeds until the checks complain or its time is over.
 *
 * Takes one argument, an Order as JSON; answers in lines of JSON, each a Report.
 */
import { drawPlan, type Plan } from '../plan/plan.js';
import { runPlan } from '../run-plan.js';
import { isSameKind, shorten, sizeOf } from '../shorten.js';
import { story } from '../story.js';
import { withFocus } from './focus.js';
import type { Focus } from './mutation.js';

export type Order =
  /** Seeds one after another, for so long. */
  | { readonly kind: 'hunt'; readonly fromSeed: number; readonly forMs: number; readonly focus: Focus }
  /** One seed: does it complain here? */
  | { readonly kind: 'try'; readonly seed: number; readonly focus: Focus }
  /** One seed that complains: made as short as can be in so many runs, and told. */
  | { readonly kind: 'tell'; readonly seed: number; readonly focus: Focus; readonly runsMax: number };

export type Report =
  | { readonly kind: 'begins'; readonly seed: number }
  | {
      readonly kind: 'found';
      readonly seed: number;
      readonly virtualMs: number;
      readonly complaints: readonly string[];
    }
  | { readonly kind: 'over' }
  | { readonly kind: 'told'; readonly eventsBefore: number; readonly events: number; readonly text: string };

function say(report: Report): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

async function hunt(order: Order & { kind: 'hunt' }): Promise<void> {
  const endMs = performance.now() + order.forMs;
  let virtualMs = 0;
  for (let seed = order.fromSeed; performance.now() < endMs; seed++) {
    say({ kind: 'begins', seed });
    const { complaints, counts } = await runPlan(withFocus(drawPlan(seed), order.focus));
    virtualMs += counts.virtualMs;
    if (complaints.length === 0) continue;
    say({ kind: 'found', seed, virtualMs, complaints });
    return;
  }
  say({ kind: 'over' });
}

async function tryOne({ seed, focus }: Order & { kind: 'try' }): Promise<void> {
  say({ kind: 'begins', seed });
  const { complaints, counts } = await runPlan(withFocus(drawPlan(seed), focus));
  if (complaints.length > 0) say({ kind: 'found', seed, virtualMs: counts.virtualMs, complaints });
  else say({ kind: 'over' });
}

async function tell({ seed, focus, runsMax }: Order & { kind: 'tell' }): Promise<void> {
  const plan = withFocus(drawPlan(seed), focus);
  const { complaints } = await runPlan(plan);
  const fails = async (candidate: Plan): Promise<boolean> => {
    say({ kind: 'begins', seed });
    return isSameKind(complaints, (await runPlan(candidate)).complaints);
  };
  const shortened = await shorten(plan, fails, { runsMax });
  const lines: string[] = [];
  const result = await runPlan(shortened, { trace: (line) => lines.push(line) });
  const text = story(shortened, lines, result.complaints);
  say({ kind: 'told', eventsBefore: sizeOf(plan), events: sizeOf(shortened), text });
}

const order = JSON.parse(process.argv[2] ?? '') as Order;
if (order.kind === 'hunt') await hunt(order);
else if (order.kind === 'try') await tryOne(order);
else await tell(order);
// Whatever a broken build still waits for.
process.exit(0);
