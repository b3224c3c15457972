/**
 * Shows names and messages without letting them steer the terminal: control characters, terminal escapes and marks that
 * change the direction of text come out as visible escapes.
 */

// C0, DEL and C1 controls; line and paragraph separators; marks that are invisible or turn text around.
const steering =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Surrogate}/gu;

const shortForms: Readonly<Record<string, string>> = { '\n': '\\n', '\t': '\\t', '\r': '\\r', '\u001b': '\\e' };

function toEscape(character: string): string {
  const code = character.charCodeAt(0);
  if (code >= 0x80) return `\\u${code.toString(16).padStart(4, '0')}`;
  return shortForms[character] ?? `\\x${code.toString(16).padStart(2, '0')}`;
}

/** One line of text with every steering character made visible, line breaks too. */
export function printable(text: string): string {
  return text.replace(steering, toEscape);
}

/**
 * A name as the user can read it and pass it back: as it is, or, when it holds steering characters, in the $'…' quotes
 * that shells turn back into the very same name.
 */
export function shownName(name: string): string {
  if (name.search(steering) < 0) return name;
  const quoted = name.replace(/[\\']/g, (character) => `\\${character}`).replace(steering, toEscape);
  return `$'${quoted}'`;
}

/** One line of JSON that is safe to look at: the same value, with steering characters as \u escapes. */
export function toJsonLine(value: unknown): string {
  return JSON.stringify(value).replace(steering, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
