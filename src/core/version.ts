/**
 * The version of this software, as package.json has it (a test compares the two).
 */
export const packageVersion = '0.1.0';

/** What each side says in hello; for people only, nothing is decided by it. */
export const software = `dfs-store ${packageVersion}`;

/** The oldest Node this software is meant for, as package.json says. */
export const nodeVersionMin = '20.19';
