/** Colours, loaded only when somebody will see them. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  warning(text: string): string;
  bad(text: string): string;
}

const plain: Paint = {
  bold: (text) => text,
  dim: (text) => text,
  good: (text) => text,
  warning: (text) => text,
  bad: (text) => text,
};

export async function loadPaint({ isColourful }: { isColourful: boolean }): Promise<Paint> {
  if (!isColourful) return plain;
  const { Chalk } = await import('chalk');
  const chalk = new Chalk({ level: 1 });
  return { bold: chalk.bold, dim: chalk.dim, good: chalk.green, warning: chalk.yellow, bad: chalk.red };
}
