/** Credit is given in order, never above the pool, and comes back exactly once. */
import { describe, expect, test } from 'vitest';
import { CreditPool } from '../../../src/protocol/credit.js';
import { settled } from '../manual-clock.js';

describe('a credit pool', () => {
  test('grants what fits and lets the rest wait in order', async () => {
    const pool = new CreditPool(100);
    const granted: string[] = [];
    const ask = (name: string, bytes: number) =>
      pool.acquire(bytes).then((release) => {
        granted.push(name);
        return release;
      });
    const first = await ask('first', 60);
    const second = ask('second', 50);
    void ask('third', 10); // would fit, but must not overtake
    await settled();
    expect(granted).toEqual(['first']);
    first();
    await settled();
    expect(granted).toEqual(['first', 'second', 'third']);
    expect(pool.usedBytes).toBe(60);
    (await second)();
    expect(pool.usedBytes).toBe(10);
  });

  test('giving back twice gives back once', async () => {
    const pool = new CreditPool(100);
    const release = await pool.acquire(60);
    await pool.acquire(40);
    release();
    release();
    expect(pool.usedBytes).toBe(40);
  });

  test('more than the whole pool is granted alone', async () => {
    const pool = new CreditPool(100);
    const release = await pool.acquire(10);
    let isGranted = false;
    void pool.acquire(500).then(() => {
      isGranted = true;
    });
    await settled();
    expect(isGranted).toBe(false);
    release();
    await settled();
    expect(isGranted).toBe(true);
  });

  test('who gives up waiting makes room for the next', async () => {
    const pool = new CreditPool(100);
    await pool.acquire(90);
    const giving = new AbortController();
    const waiting = pool.acquire(50, giving.signal);
    const next = pool.acquire(10);
    giving.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    await next;
    await expect(pool.acquire(1, giving.signal)).rejects.toMatchObject({ code: 'cancelled' });
    expect(pool.usedBytes).toBe(100);
  });

  test('small payloads are counted and their end is announced once', () => {
    const pool = new CreditPool(100, 10);
    let calls = 0;
    pool.takeSmall(10);
    expect(pool.isSmallFull).toBe(false);
    pool.takeSmall(1);
    expect(pool.isSmallFull).toBe(true);
    pool.onSmallRoom(() => calls++);
    pool.releaseSmall(1);
    pool.releaseSmall(10);
    expect([pool.isSmallFull, pool.smallBytes, calls]).toEqual([false, 0, 1]);
  });
});
