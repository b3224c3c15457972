/** Finds ports of loopback on which nobody listens. Somebody may take one before it is used; then its user says so. */
import { createServer } from 'node:net';
import { DfsError } from '../core/errors.js';

const triesMax = 1000;

/** The port listened on for a moment, or undefined when it is taken. 0 lets the system choose. */
function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1' }, () => {
      const address = server.address();
      const found = typeof address === 'object' && address !== null ? address.port : undefined;
      server.close(() => resolve(found));
    });
  });
}

/** `count` different ports in rising order from `from` upwards; any, when that is 0. Throws DfsError `failed`. */
export async function freePorts({ from, count }: { from: number; count: number }): Promise<readonly number[]> {
  const found = new Set<number>();
  for (let attempt = 0; attempt < triesMax && found.size < count; attempt++) {
    const port = await tryPort(from === 0 ? 0 : from + attempt);
    if (port !== undefined) found.add(port);
  }
  if (found.size < count) throw new DfsError('failed', `Found only ${found.size} of ${count} free ports`);
  return [...found];
}
