/**
 * Which local path a stored name may become.
 *
 * Names are literal and may be anything; a path that leaves the chosen folder, or is none, is never written. Pure.
 */
export type LocalName = { readonly path: string } | { readonly refused: string };

/** Where a name goes when a whole prefix is received: its parts become folders. */
export function toRelativePath(name: string): LocalName {
  if (name.startsWith('/')) return { refused: 'it begins with "/", which would leave the folder' };
  for (const part of name.split('/')) {
    if (part === '') return { refused: 'it has an empty part, which no folder can hold' };
    if (part === '.' || part === '..') return { refused: `it has the part "${part}", which would leave its place` };
  }
  return { path: name };
}

/** Where one name goes when nothing else is said: its last part, in the current folder. */
export function toBaseName(name: string): LocalName {
  const last = name.slice(name.lastIndexOf('/') + 1);
  if (last === '' || last === '.' || last === '..') return { refused: 'its last part is not a file name' };
  return { path: last };
}
