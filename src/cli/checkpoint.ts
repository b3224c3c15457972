/**
 * `dfs checkpoint`: keeps the cluster's files as they are now, lists what is kept, removes it, and brings files back
 * from it: one, those of a prefix, or all, into this cluster or another one, whatever its number of peers.
 *
 * Restored files are ordinary ones, stored by an ordinary client. A file that is there already with the same content
 * counts as restored, so that a restore that was cut off is finished by repeating it; one with other content is kept
 * unless --force. Exit code 8: a checkpoint is incomplete, or some files could not be restored.
 */
import type { CheckpointFile, CheckpointReader } from '../client/checkpoint-reader.js';
import type { FileClient } from '../client/file-client.js';
import type { Checkpoint, CheckpointEntry, FileStat, Receipt } from '../client/results.js';
import { type DfsError, isRefusal, refusals } from '../core/errors.js';
import { type Context, defineCommand, type Given, textOption, toggle, usage } from './command.js';
import { shownName } from './escaping.js';
import { Outcomes } from './outcomes.js';
import { forEachBounded, transferBounds } from './parallel.js';
import { Progress } from './progress.js';
import { toReceiptJson, toReceiptText } from './receipt.js';
import { parseAddresses } from './settings.js';
import { nearest } from './suggestion.js';
import { plural } from './units.js';

const options = {
  all: toggle('restore: every file of every bucket'),
  prefix: textOption('prefix', 'restore: the files of the bucket whose name begins with this'),
  as: textOption('name', 'restore: store the file under another name'),
  toMaster: {
    takes: 'host:port,…',
    about: 'restore: store the files in the cluster of this master',
    parse: parseAddresses,
  },
  force: toggle('restore: replace files that have other content'),
} as const;

type GivenOptions = Given<typeof options>;

const actions = { create, ls: list, restore, rm: remove } as const;

export const checkpoint = defineCommand({
  operands: [
    { name: '<action>', about: Object.keys(actions).join(', ') },
    { name: '[id]', about: 'the checkpoint, for restore and rm' },
    { name: '[name...]', about: 'restore: the files to bring back' },
  ],
  options,
  examples: [
    'dfs checkpoint create',
    'dfs checkpoint restore 20260102-030405-6789abcd photo.jpg --as photo-of-then.jpg',
    'dfs checkpoint restore 20260102-030405-6789abcd --all --to-master 10.0.0.9:7420',
  ],
  async run(context, [action = '', ...operands], given: GivenOptions) {
    if (!isAction(action)) {
      const meant = nearest(action, Object.keys(actions));
      const advice = meant === undefined ? 'See dfs checkpoint --help' : `Did you mean ${meant}?`;
      return usage(`"${action}" is no action`, advice);
    }
    return actions[action](context, operands, given);
  },
});

function isAction(text: string): text is keyof typeof actions {
  return Object.hasOwn(actions, text);
}

function theId([id, ...others]: readonly string[], isAlone = true): string {
  if (id === undefined) return usage('No checkpoint is given', 'See dfs checkpoint ls');
  if (isAlone && others.length > 0) usage('One checkpoint at a time');
  return id;
}

async function create(context: Context, operands: readonly string[]): Promise<number> {
  if (operands.length > 0) usage('A checkpoint gets its id from the cluster');
  const client = await context.connect();
  const made = await client.checkpoints.create({ signal: context.interrupted });
  await context.output.answer(made, () => toText(made));
  if (made.state !== 'complete') await context.output.tell(whyNot(made));
  return made.state === 'complete' ? 0 : refusals['partly-done'].exitCode;
}

async function list(context: Context, operands: readonly string[]): Promise<number> {
  if (operands.length > 0) usage('dfs checkpoint ls takes no names');
  const client = await context.connect();
  for (const each of await client.checkpoints.list({ signal: context.interrupted })) {
    await context.output.answer(each, () => toText(each));
  }
  return 0;
}

async function remove(context: Context, operands: readonly string[]): Promise<number> {
  const id = theId(operands);
  const client = await context.connect();
  await client.checkpoints.remove(id, { signal: context.interrupted });
  await context.output.answer({ id, state: 'removing' }, () => `removed ${shownName(id)}`);
  return 0;
}

function toText({ id, at, state, peers, isTimed }: Checkpoint): string {
  const parts = state === 'removing' ? 'still on' : 'parts on';
  return [id, at ?? 'unknown time', state, `${parts} ${peers.join(', ')}`, ...(isTimed ? ['by the clock'] : [])].join(
    '  ',
  );
}

function whyNot({ state, reasons }: Checkpoint): string {
  if (state === 'removing') return 'The master was started anew meanwhile and gave it up: make another.';
  return `It is incomplete: ${reasons.join('; ')}.`;
}

// --- Restoring -------------------------------------------------------------------------------------------------------

async function restore(context: Context, operands: readonly string[], given: GivenOptions): Promise<number> {
  const id = theId(operands, false);
  const names = operands.slice(1);
  checkChoice(names, given);
  const client = await context.connect();
  const reader = await client.checkpoints.open(id, { signal: context.interrupted });
  const target = given.toMaster === undefined ? client : await context.connect({ masters: given.toMaster });
  const restoring = new Restoring(context, { reader, target, given });
  if (names.length > 0) return restoring.run(entriesOf(names, client.bucketName), { isWhole: true });
  const missing = reader.missingSlots;
  if (missing.length > 0) {
    await context.output.tell(
      `Nobody who answers has ${plural(missing.length, 'slot')} of it: their files are left out.`,
    );
  }
  const chosen = given.all ? {} : { bucket: client.bucketName, prefix: given.prefix ?? '' };
  return restoring.run(reader.files(chosen), { isWhole: missing.length === 0 });
}

function checkChoice(names: readonly string[], given: GivenOptions): void {
  const ways = [names.length > 0, given.all, given.prefix !== undefined].filter((isChosen) => isChosen).length;
  if (ways !== 1) usage('What is to be restored?', 'Give names, --prefix PREFIX, or --all');
  if (given.as !== undefined && names.length !== 1) usage('--as goes with one name');
}

function* entriesOf(names: readonly string[], bucket: string): Generator<CheckpointEntry> {
  for (const name of names) yield { bucket, name, size: 0 };
}

class Restoring {
  readonly #context: Context;
  readonly #reader: CheckpointReader;
  readonly #target: FileClient;
  readonly #given: GivenOptions;
  readonly #outcomes: Outcomes;
  readonly #progress: Progress;

  constructor(context: Context, of: { reader: CheckpointReader; target: FileClient; given: GivenOptions }) {
    this.#context = context;
    this.#reader = of.reader;
    this.#target = of.target;
    this.#given = of.given;
    this.#outcomes = new Outcomes(context.output, 'restore');
    this.#progress = new Progress(context.terminal, context.clock, context.settings);
  }

  async run(
    entries: Iterable<CheckpointEntry> | AsyncIterable<CheckpointEntry>,
    { isWhole }: { isWhole: boolean },
  ): Promise<number> {
    let restored = 0;
    try {
      await forEachBounded(
        entries,
        transferBounds<CheckpointEntry>(({ size }) => size),
        async (entry) => {
          await this.#outcomes.attempt(entry.name, () => this.#restore(entry));
          restored++;
        },
      );
    } finally {
      this.#progress.stop();
    }
    await this.#context.output.note(plural(restored, 'file'));
    const { exitCode } = this.#outcomes;
    return exitCode === 0 && !isWhole ? refusals['partly-done'].exitCode : exitCode;
  }

  async #restore(entry: CheckpointEntry): Promise<void> {
    const file = await this.#reader.open(entry);
    this.#progress.subject(entry.name);
    const receipt = await this.#store(entry, file);
    if (receipt === undefined) {
      const name = this.#given.as ?? entry.name;
      const same = { bucket: entry.bucket, name, size: file.stat.size, checksum: file.stat.checksum, isSame: true };
      await this.#context.output.answer(same, () => `${shownName(name)}  is there already, the same`);
      return;
    }
    await this.#context.output.answer(toReceiptJson(receipt), (paint) => toReceiptText(receipt, paint));
  }

  /** Undefined: the very file is there already. */
  async #store(entry: CheckpointEntry, { stat, body }: CheckpointFile): Promise<Receipt | undefined> {
    const name = this.#given.as ?? entry.name;
    const bucket = this.#target.bucket(entry.bucket);
    try {
      return await bucket.put(name, this.#progress.counting(body), {
        signal: this.#context.interrupted,
        size: stat.size,
        segmentBytes: stat.segmentBytes,
        metadata: stat.metadata,
        ifAbsent: !this.#given.force,
        ...(stat.contentType === undefined ? {} : { contentType: stat.contentType }),
      });
    } catch (error) {
      if (!isRefusal(error, 'conflict') || !(await this.#isSame(bucket, name, stat))) throw withAdvice(error);
      return undefined;
    }
  }

  async #isSame(bucket: FileClient, name: string, stat: CheckpointFile['stat']): Promise<boolean> {
    try {
      const there = await bucket.stat(name, { signal: this.#context.interrupted });
      return factsOf(there) === factsOf(stat);
    } catch (error) {
      if (isRefusal(error, 'not-found')) return false;
      throw error;
    }
  }
}

/** What two copies of one file have in common, in different clusters too. */
function factsOf({ size, checksum, contentType = '', metadata }: FileStat): string {
  return JSON.stringify([size, checksum, contentType, Object.entries(metadata).sort()]);
}

function withAdvice(error: unknown): unknown {
  if (!isRefusal(error, 'conflict')) return error;
  return Object.assign(error as DfsError, {
    advice: 'Replace what is there with --force, or give another name with --as',
  });
}
