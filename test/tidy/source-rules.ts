/**
 * What a source file may look like: sizes, names, what it may call. Reads the syntax tree, so text in strings and
 * comments is never taken for code.
 */
import { basename } from 'node:path';
import ts from 'typescript';

const fileLinesMax = 400;
const lineColumnsMax = 120;
const functionLinesMax = 70;

/** They reach for time, chance, the process or the network past the environment that is handed in. */
const worldlyGlobals = new Set([
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'clearImmediate',
  'process',
  'console',
  'crypto',
  'fetch',
  'WebSocket',
  'BroadcastChannel',
  'globalThis',
  'require',
]);
const worldlyMembers = new Set(['Math.random', 'AbortSignal.timeout', 'Atomics.wait']);
const uselessNames = /^(utils?|helpers?|common|types?|misc|shared|stuff|index|constants|functions)$/;
const unfinished = /\b(TODO|FIXME|XXX|HACK|for now|@ts-ignore|@ts-nocheck)\b/;

type Complain = (node: ts.Node, what: string) => void;

/** `path` is relative to the checkout, with slashes. Answers "path:line: what is wrong". */
export function complaintsAbout(path: string, text: string): string[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  const complaints = [...textComplaints(path, text)];
  const complain: Complain = (node, what) => {
    const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
    complaints.push(`${path}:${line + 1}: ${what}`);
  };
  const declared = declaredNames(source);
  const visit = (node: ts.Node): void => {
    checkLength(node, path, source, complain);
    checkSyntax(node, path, complain);
    if (path.startsWith('src/') && !path.startsWith('src/io/')) checkWorldly(node, { path, declared, complain });
    ts.forEachChild(node, visit);
  };
  visit(source);
  return complaints;
}

function textComplaints(path: string, text: string): string[] {
  const complaints: string[] = [];
  const lines = text.replace(/\n$/, '').split('\n');
  if (lines.length > fileLinesMax) complaints.push(`${path}: ${lines.length} lines, more than ${fileLinesMax}`);
  for (const [index, line] of lines.entries()) {
    const at = `${path}:${index + 1}`;
    const columns = [...line].length;
    if (columns > lineColumnsMax) complaints.push(`${at}: ${columns} columns, more than ${lineColumnsMax}`);
    if (unfinished.test(line) && !path.startsWith('test/tidy')) complaints.push(`${at}: unfinished: ${line.trim()}`);
  }
  const stem = basename(path).replace(/(\.test|\.d)?\.[a-z]+$/, '');
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(stem)) complaints.push(`${path}: the name is not in kebab case`);
  if (uselessNames.test(stem)) complaints.push(`${path}: the name says nothing`);
  if (!path.endsWith('.test.ts') && !text.startsWith('/**')) complaints.push(`${path}: opens with no doc comment`);
  return complaints;
}

function checkLength(node: ts.Node, path: string, source: ts.SourceFile, complain: Complain): void {
  if (!ts.isFunctionLike(node) || !('body' in node) || !node.body) return;
  if (path.endsWith('.test.ts') && isSuite(node)) return;
  const start = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
  const end = source.getLineAndCharacterOfPosition(node.getEnd()).line;
  const lines = end - start + 1;
  if (lines > functionLinesMax) complain(node, `a function of ${lines} lines, more than ${functionLinesMax}`);
}

/** The callback of `describe`, which only holds tests. */
function isSuite(node: ts.Node): boolean {
  const call = node.parent;
  return ts.isCallExpression(call) && /^describe\b/.test(call.expression.getText());
}

function checkSyntax(node: ts.Node, path: string, complain: Complain): void {
  if (node.kind === ts.SyntaxKind.AnyKeyword) complain(node, 'any');
  if (ts.isEnumDeclaration(node)) complain(node, 'an enum');
  if (ts.isParameter(node) && ts.isParameterPropertyDeclaration(node, node.parent)) {
    complain(node, 'a parameter property');
  }
  if (ts.isCatchClause(node) && node.block.statements.length === 0) complain(node, 'an empty catch');
  if (isSilencedPromise(node)) complain(node, 'a rejection swallowed in silence');
  if (ts.isExportAssignment(node) && path !== 'vitest.config.ts') complain(node, 'a default export');
  if (ts.isExportDeclaration(node) && node.moduleSpecifier && path !== 'src/dfs.ts') complain(node, 'a re-export');
}

/** `.catch(() => {})` */
function isSilencedPromise(node: ts.Node): boolean {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return false;
  const handler = node.arguments[0];
  return (
    node.expression.name.text === 'catch' &&
    handler !== undefined &&
    ts.isArrowFunction(handler) &&
    ts.isBlock(handler.body) &&
    handler.body.statements.length === 0
  );
}

interface WorldlyCheck {
  readonly path: string;
  /** Names the file itself declares or imports: they hide the global. */
  readonly declared: ReadonlySet<string>;
  readonly complain: Complain;
}

function checkWorldly(node: ts.Node, { path, declared, complain }: WorldlyCheck): void {
  if (ts.isPropertyAccessExpression(node) && worldlyMembers.has(node.getText())) complain(node, node.getText());
  if (!ts.isIdentifier(node) || !worldlyGlobals.has(node.text) || declared.has(node.text)) return;
  if (node.text === 'process' && path.startsWith('src/main/')) return;
  const parent = node.parent;
  const isMemberName =
    (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
    (ts.isQualifiedName(parent) && parent.right === node) ||
    (ts.isPropertyAssignment(parent) && parent.name === node) ||
    ts.isPropertySignature(parent) ||
    ts.isPropertyDeclaration(parent) ||
    ts.isMethodDeclaration(parent) ||
    ts.isMethodSignature(parent);
  if (!isMemberName) complain(node, `the global ${node.text}`);
}

function declaredNames(source: ts.SourceFile): Set<string> {
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    const declares =
      ts.isVariableDeclaration(node) ||
      ts.isParameter(node) ||
      ts.isFunctionDeclaration(node) ||
      ts.isBindingElement(node) ||
      ts.isImportSpecifier(node);
    if (declares && node.name && ts.isIdentifier(node.name)) names.add(node.name.text);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return names;
}
