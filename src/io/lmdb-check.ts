/**
 * Decides, with plain reads, whether an LMDB file may be mapped: a page that lies past the end of the file would end
 * the process (SIGBUS) when it is touched, and LMDB believes every page number it finds.
 *
 * Walks from the newest meta page: the branches of every tree, and every leaf too when the file is small, shorter than
 * its meta page says, or under suspicion. The file may rightly be shorter: free pages at its end are never written.
 * The layout is that of MDB_meta, MDB_page, MDB_node and MDB_db in the library's mdb.c, data version 2.
 */
import { closeSync, constants, fstatSync, openSync, readSync, writeFileSync } from 'node:fs';
import { StorageFailure } from '../core/errors.js';
import { systemCode, toStorageFailure } from './system-errors.js';

const fullWalkBytesMax = 64 * 1024 * 1024; // read in a fraction of a second
const branchPagesMax = 8192; // of a larger file; the rest is met, if at all, by readers

const magic = 0xbeefc0de;
const dataVersion = 2;
const pageHeaderBytes = 24;
const nodeHeaderBytes = 8;
const treeBytes = 48;
const overflowReferenceBytes = 24;
const noPage = 0xffff_ffff_ffff_ffffn;

const pageFlags = { branch: 1, leaf: 2, overflow: 4, meta: 8 } as const;
const nodeFlags = { overflow: 1, tree: 2 } as const;

/** An MDB_db: where one tree begins. */
interface Tree {
  readonly depth: number;
  readonly root: bigint;
}

interface Meta {
  readonly pageBytes: number;
  readonly free: Tree;
  readonly main: Tree;
  readonly lastPage: bigint;
  readonly transaction: bigint;
}

/** What a walk met; thrown inside this file only. */
class Fault extends Error {}

/**
 * Answers what is wrong with the file, or undefined when it may be mapped. Throws StorageFailure when it cannot be
 * read, or was written by another version of LMDB: its content may be whole then.
 */
export function checkIndexFile(path: string, options: { readonly isSuspect: boolean }): string | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    throw toStorageFailure(error, `Opening ${path}`);
  }
  try {
    const sizeBytes = fstatSync(descriptor).size;
    if (sizeBytes === 0) return 'it is empty';
    const meta = newestMeta(path, descriptor);
    const isShort = BigInt(sizeBytes) < (meta.lastPage + 1n) * BigInt(meta.pageBytes);
    const isThorough = isShort || options.isSuspect || sizeBytes <= fullWalkBytesMax;
    new Walk(descriptor, { meta, sizeBytes, isThorough }).run();
    return undefined;
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw toStorageFailure(error, `Checking ${path}`);
  } finally {
    closeSync(descriptor);
  }
}

function newestMeta(path: string, descriptor: number): Meta {
  const first = readMeta(path, descriptor, 0);
  const second = readMeta(path, descriptor, first.pageBytes);
  if (second.pageBytes !== first.pageBytes) throw new Fault('its two meta pages disagree');
  // A transaction writes the meta page that is not the newest: both are whole, whatever moment the power failed.
  return second.transaction > first.transaction ? second : first;
}

function readMeta(path: string, descriptor: number, position: number): Meta {
  const page = readAt(descriptor, position, 512);
  if ((page.getUint16(18, true) & pageFlags.meta) === 0 || page.getUint32(24, true) !== magic) {
    throw new Fault('a meta page is not one of LMDB');
  }
  const version = page.getUint32(28, true) & 0xffff;
  if (version !== dataVersion) {
    throw new StorageFailure(`${path} is in version ${version} of LMDB's format; this program reads ${dataVersion}`);
  }
  const pageBytes = page.getUint32(48, true);
  if (pageBytes < 512 || pageBytes > 65_536 || (pageBytes & (pageBytes - 1)) !== 0) {
    throw new Fault('a meta page has an impossible page size');
  }
  return {
    pageBytes,
    free: readTree(page, 48),
    main: readTree(page, 96),
    lastPage: page.getBigUint64(144, true),
    transaction: page.getBigUint64(152, true),
  };
}

function readTree(view: DataView, offset: number): Tree {
  return { depth: view.getUint16(offset + 6, true), root: view.getBigUint64(offset + 40, true) };
}

function readAt(descriptor: number, position: number, length: number): DataView {
  const bytes = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const count = readSync(descriptor, bytes, done, length - done, position + done);
    if (count === 0) throw new Fault('it ends too early');
    done += count;
  }
  return new DataView(bytes.buffer, bytes.byteOffset, length);
}

class Walk {
  readonly #descriptor: number;
  readonly #meta: Meta;
  readonly #pagesInFile: bigint;
  readonly #isThorough: boolean;
  #branchesLeft = branchPagesMax;

  constructor(descriptor: number, of: { meta: Meta; sizeBytes: number; isThorough: boolean }) {
    this.#descriptor = descriptor;
    this.#meta = of.meta;
    this.#pagesInFile = BigInt(Math.floor(of.sizeBytes / of.meta.pageBytes));
    this.#isThorough = of.isThorough;
  }

  run(): void {
    this.#walkTree(this.#meta.free, this.#isThorough);
    this.#walkTree(this.#meta.main, true, (tree) => this.#walkTree(tree, this.#isThorough));
  }

  /** `onTree` is told of the named trees whose roots the leaves hold. */
  #walkTree(tree: Tree, readsLeaves: boolean, onTree?: (tree: Tree) => void): void {
    if (tree.root === noPage) {
      if (tree.depth !== 0) throw new Fault('a tree has depth but no root');
      return;
    }
    if (tree.depth === 0 || tree.depth > 32) throw new Fault(`a tree claims a depth of ${tree.depth}`);
    this.#walkPage(tree.root, tree.depth, { readsLeaves, ...(onTree && { onTree }) });
  }

  #walkPage(number: bigint, level: number, of: { readsLeaves: boolean; onTree?: (tree: Tree) => void }): void {
    this.#checkSpan(number, 1n);
    if (level === 1 && !of.readsLeaves) return;
    if (level > 1 && !this.#isThorough && --this.#branchesLeft < 0) return;
    const page = this.#readPage(number, level > 1 ? pageFlags.branch : pageFlags.leaf);
    for (const node of this.#nodesOf(page, number)) {
      if (level > 1) this.#walkPage(childOf(page, node), level - 1, of);
      else this.#checkLeafNode(page, node, of.onTree);
    }
  }

  #readPage(number: bigint, flag: number): DataView {
    const page = readAt(this.#descriptor, Number(number) * this.#meta.pageBytes, this.#meta.pageBytes);
    if (page.getBigUint64(0, true) !== number) throw new Fault(`page ${number} does not carry its number`);
    if ((page.getUint16(18, true) & 0xf) !== flag) throw new Fault(`page ${number} is of the wrong kind`);
    return page;
  }

  /** The offsets of a page's nodes, each with room for its header. */
  #nodesOf(page: DataView, number: bigint): number[] {
    const pageBytes = this.#meta.pageBytes;
    // Bounds and offsets count from behind the page header.
    const lower = page.getUint16(20, true);
    const upper = page.getUint16(22, true);
    if (lower % 2 !== 0 || lower > upper || upper + pageHeaderBytes > pageBytes) {
      throw new Fault(`page ${number} has impossible bounds`);
    }
    const nodes: number[] = [];
    for (let at = 0; at < lower; at += 2) {
      const node = page.getUint16(pageHeaderBytes + at, true) + pageHeaderBytes;
      const keyEnd =
        node + nodeHeaderBytes <= pageBytes ? node + nodeHeaderBytes + page.getUint16(node + 6, true) : Infinity;
      if (keyEnd > pageBytes) throw new Fault(`page ${number} has a node outside itself`);
      nodes.push(node);
    }
    return nodes;
  }

  #checkLeafNode(page: DataView, node: number, onTree: ((tree: Tree) => void) | undefined): void {
    const flags = page.getUint16(node + 4, true);
    const data = node + nodeHeaderBytes + page.getUint16(node + 6, true);
    const sizeBytes = page.getUint32(node, true);
    const isOverflow = (flags & nodeFlags.overflow) !== 0;
    if (data + (isOverflow ? overflowReferenceBytes : sizeBytes) > page.byteLength) {
      throw new Fault('a value reaches past its page');
    }
    if (isOverflow) {
      const first = page.getBigUint64(data, true);
      const pages = page.getBigUint64(data + 16, true);
      if (pages * BigInt(page.byteLength) < BigInt(sizeBytes)) throw new Fault('a value reaches past its pages');
      this.#checkSpan(first, pages);
      this.#readPage(first, pageFlags.overflow);
    } else if ((flags & nodeFlags.tree) !== 0 && onTree !== undefined) {
      if (sizeBytes !== treeBytes) throw new Fault('a tree has an impossible record');
      onTree(readTree(page, data));
    }
  }

  #checkSpan(first: bigint, count: bigint): void {
    const isInside = first >= 2n && first + count <= this.#meta.lastPage + 1n && first + count <= this.#pagesInFile;
    if (!isInside) throw new Fault(`page ${first} lies outside the file`);
  }
}

/** A branch node keeps the number in 48 bits: size and flags of a leaf's node together. */
function childOf(page: DataView, node: number): bigint {
  return BigInt(page.getUint32(node, true)) | (BigInt(page.getUint16(node + 4, true)) << 32n);
}

/** A file that is there when a read met damage: the next start then reads the whole index before it maps it. */
export function suspicionPathOf(path: string): string {
  return `${path}-suspect`;
}

/** Answers what to add to the message. */
export function noteSuspicion(path: string): string {
  try {
    writeFileSync(suspicionPathOf(path), '');
    return '';
  } catch (error) {
    return ` (and noting that failed: ${systemCode(error)})`;
  }
}
