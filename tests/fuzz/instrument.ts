// SPDX-License-Identifier: MIT
// A target with coverage: one script made by esbuild, in which the parsers' files count where they are.

import {readFile} from 'node:fs/promises';
import {build} from 'esbuild';
import ts from 'typescript';
import {tree} from './places.ts';

/** What is measured: the product, and the XML parser it stands on. */
const MEASURED = /\/main\/|\/src\/|\/node_modules\/(ltx|@xmpp)\//;
const NOT_MEASURED = /\/tests\//;
/** Longest string of the source that is worth writing into an input. */
const MAX_WORD = 64;

export interface Instrumented {
  /** CommonJS; wants the globals `fuzzHits` (bytes) and `fuzzCompared` (a function of two values, that returns whether they are equal). */
  readonly code: string;
  /** Places that are counted. */
  readonly places: number;
  /** Strings of the measured source. */
  readonly words: readonly string[];
}

/** Bundles `targets/<name>.ts`. */
export async function instrument(name: string): Promise<Instrumented> {
  let places = 0;
  const words = new Set<string>();
  const count = (): ts.Expression => hit(places++);
  const result = await build({
    entryPoints: [tree(`tests/fuzz/targets/${name}.ts`)],
    bundle: true,
    write: false,
    format: 'cjs',
    platform: 'node',
    logLevel: 'warning',
    plugins: [
      {
        name: 'coverage',
        setup: ({onLoad}) => {
          onLoad({filter: /\.[jt]s$/}, async ({path}) => {
            if (NOT_MEASURED.test(path) || !MEASURED.test(path)) return undefined;
            const source = await readFile(path, 'utf8');
            const {outputText} = ts.transpileModule(source, {
              fileName: path,
              compilerOptions: {
                target: ts.ScriptTarget.ES2022,
                module: ts.ModuleKind.ESNext,
                verbatimModuleSyntax: true,
              },
              transformers: {before: [(context) => (file) => visitFile(file, context, count, words)]},
            });
            return {contents: outputText, loader: 'js'};
          });
        },
      },
    ],
  });
  return {code: result.outputFiles[0]?.text ?? '', places, words: [...words]};
}

const {factory} = ts;

/** `fuzzHits[place]++` */
function hit(place: number): ts.Expression {
  const element = factory.createElementAccessExpression(factory.createIdentifier('fuzzHits'), place);
  return factory.createPostfixIncrement(element);
}

function visitFile(
  file: ts.SourceFile,
  context: ts.TransformationContext,
  count: () => ts.Expression,
  words: Set<string>,
): ts.SourceFile {
  const statement = (): ts.Statement => factory.createExpressionStatement(count());
  const counted = (value: ts.Expression): ts.Expression =>
    factory.createParenthesizedExpression(factory.createComma(count(), value));
  const block = (body: ts.Statement): ts.Block =>
    ts.isBlock(body)
      ? factory.updateBlock(body, [statement(), ...body.statements])
      : factory.createBlock([statement(), body]);
  const each = <T extends ts.Node>(node: T): T => ts.visitEachChild(node, visit, context);

  function visit(node: ts.Node): ts.Node {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isImportDeclaration(node)) return node;
    if (ts.isStringLiteral(node) && node.text.length <= MAX_WORD) words.add(node.text);
    if (ts.isIfStatement(node)) {
      const {expression, thenStatement, elseStatement} = each(node);
      const otherwise = elseStatement ? block(elseStatement) : factory.createBlock([statement()]);
      return factory.updateIfStatement(node, expression, block(thenStatement), otherwise);
    }
    if (ts.isConditionalExpression(node)) {
      const {condition, questionToken, whenTrue, colonToken, whenFalse} = each(node);
      return factory.updateConditionalExpression(
        node,
        condition,
        questionToken,
        counted(whenTrue),
        colonToken,
        counted(whenFalse),
      );
    }
    if (ts.isBinaryExpression(node)) return binary(node);
    if (ts.isCaseClause(node)) {
      const clause = each(node);
      return factory.updateCaseClause(clause, clause.expression, [statement(), ...clause.statements]);
    }
    if (ts.isArrowFunction(node) && !ts.isBlock(node.body)) {
      const {modifiers, typeParameters, parameters, type, equalsGreaterThanToken, body} = each(node);
      const value = counted(body as ts.Expression);
      return factory.updateArrowFunction(
        node,
        modifiers,
        typeParameters,
        parameters,
        type,
        equalsGreaterThanToken,
        value,
      );
    }
    // Bodies of functions, loops, try and catch.
    if (ts.isBlock(node) && !ts.isIfStatement(node.parent ?? node)) {
      const body = each(node);
      return factory.updateBlock(body, [statement(), ...body.statements]);
    }
    return each(node);
  }

  function binary(node: ts.BinaryExpression): ts.Expression {
    const {left, operatorToken, right} = each(node);
    switch (operatorToken.kind) {
      case ts.SyntaxKind.AmpersandAmpersandToken:
      case ts.SyntaxKind.BarBarToken:
      case ts.SyntaxKind.QuestionQuestionToken:
        return factory.updateBinaryExpression(node, left, operatorToken, counted(right));
      case ts.SyntaxKind.EqualsEqualsEqualsToken:
      case ts.SyntaxKind.ExclamationEqualsEqualsToken: {
        const call = factory.createCallExpression(factory.createIdentifier('fuzzCompared'), undefined, [left, right]);
        const negated = operatorToken.kind === ts.SyntaxKind.ExclamationEqualsEqualsToken;
        return negated ? factory.createLogicalNot(call) : call;
      }
      default:
        return factory.updateBinaryExpression(node, left, operatorToken, right);
    }
  }

  return ts.visitEachChild(file, visit, context);
}
